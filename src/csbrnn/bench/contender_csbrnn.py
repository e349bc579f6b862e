"""csbrnn itself: the model in each precision and layout, and the same weights unpruned.

The last shows what comes from pruning and what from the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import ClassVar, Final

import numpy as np

from csbrnn.bench.cases import Case
from csbrnn.bench.contender import (
    Array,
    Contender,
    Prepared,
    UnavailableError,
    as_float32,
    bytes_read,
)
from csbrnn.bench.matvec import matvec_step
from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, quantize
from csbrnn.numerics import PRECISIONS
from csbrnn.runtime import compile as compile_model
from csbrnn.runtime.layout import DTYPES

__all__ = ["CSBRNN", "ENGINE_TOLERANCES", "Csbrnn", "csbrnn_contenders", "supported_precisions"]

ENGINE_TOLERANCES: Final = {"fp32": 1e-4, "bf16": 1e-4, "int8": 0.02, "mixed": 0.02}
"""Precision -> largest error accepted against the quantized model's own definition.

bf16 rounds nothing but the stored weights, so it is as close as fp32 is. int8 products are exact,
but a gate that differs in its last bit may move a state across the middle between two integers: by
1/127, times one weight of 1 at most, into a gate of slope 1/4, which is 0.002; a few of them. The
products themselves are compared to the last bits by `csbrnn.bench.matvec`.
"""


class Csbrnn(Contender):
    """A model run by `csbrnn.runtime`, as a user of its Python API would: one stream, in place.

    Args:
        precision: "fp32", "bf16" or "int8"; "mixed" for a model that comes so.
        layout: Which of the case's layouts; that of its model if left out.
        unpruned: Whether to run it with its zeros filled, so that there are none to leave out.
    """

    name: ClassVar[str] = "csbrnn"

    def __init__(
        self, precision: str = "fp32", layout: str | None = None, *, unpruned: bool = False
    ) -> None:
        self.precision, self._layout, self._unpruned = precision, layout, unpruned
        self.variant = "unpruned" if unpruned else "as packed"

    def layout(self, case: Case) -> str:
        """See `Contender.layout`."""
        if self._unpruned:
            return super().layout(case)
        return case.layout if self._layout is None else self._layout

    def model(self, case: Case) -> PackedModel:
        """The model as it is run, rounded weights and all; see `Contender.model`."""
        return case.deployed(self.precision, self._layout, unpruned=self._unpruned)

    @property
    def tolerance(self) -> float:
        """See `Contender.tolerance`."""
        return ENGINE_TOLERANCES[self.precision]

    @contextmanager
    def open(self, case: Case, threads: int) -> Iterator[Prepared]:
        """Compiles the model; see `Contender.open`."""
        if self._unpruned and case.is_dense:
            raise UnavailableError("the model is stored dense: see the other variant")
        model = self.model(case)
        try:
            engine = compile_model(model, threads)
        except UnsupportedModelError as error:
            raise UnavailableError(str(error)) from None
        stream = engine.stream()

        def set_input(x: Array) -> None:
            stream.x[...] = x

        def sequence(xs: Array) -> Callable[[], Array]:
            return lambda: engine(xs)[0]

        yield Prepared(
            step=stream.step,
            set_input=set_input,
            output=lambda: as_float32(stream.y),
            reset=stream.reset,
            # The engine may store less than the file does, of a matrix with zeros stored dense.
            nbytes=min(bytes_read(model), engine.nbytes),
            sequence=sequence,
            matvec=lambda: matvec_step(model, threads, case.inputs(1)[0]),
        )


CSBRNN: Final = (Csbrnn(), Csbrnn(unpruned=True))
"""The configurations that every engine has a counterpart of."""


def csbrnn_contenders(
    precisions: Iterable[str],
    layouts: Iterable[str | None] = (None,),
    *,
    unpruned: bool = True,
) -> tuple[Csbrnn, ...]:
    """Every precision in every layout, and each precision unpruned unless that is left out."""
    precisions, layouts = tuple(precisions), tuple(layouts)
    pruned = [Csbrnn(precision, layout) for layout in layouts for precision in precisions]
    whole = [Csbrnn(precision, unpruned=True) for precision in precisions if unpruned]
    return (*pruned, *whole)


@cache
def supported_precisions() -> tuple[str, ...]:
    """The precisions that the installed engine has kernels for, found by compiling a weight."""
    weight = DenseMatrix(np.ones((1, 1), np.float32))
    model = PackedModel((Linear("linear", ("input",), weight),), Features(1), "linear")
    found = []
    for precision in PRECISIONS:
        if precision not in DTYPES:  # fixed point runs on the kernels of fp32
            continue
        try:
            compile_model(quantize(model, precision))
        except UnsupportedModelError:
            continue
        found.append(precision)
    return tuple(found)
