"""csbrnn itself: the model as packed, and the same weights unpruned.

The second shows what comes from pruning and what from the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Final

from csbrnn.bench.cases import Case
from csbrnn.bench.contender import (
    Array,
    Contender,
    Prepared,
    UnavailableError,
    as_float32,
    bytes_read,
)
from csbrnn.runtime import compile as compile_model

__all__ = ["CSBRNN", "Csbrnn"]


class Csbrnn(Contender):
    """A model run by `csbrnn.runtime`, as a user of its Python API would: one stream, in place.

    Args:
        variant: Name of the configuration.
        dense: Whether to run the dense twin, filled so that there are no zeros to leave out.
    """

    name: ClassVar[str] = "csbrnn"

    def __init__(self, variant: str, dense: bool = False) -> None:
        self.variant, self.precision, self._dense = variant, "fp32", dense

    def layout(self, case: Case) -> str:
        """See `Contender.layout`."""
        return "dense" if self._dense else case.layout

    @contextmanager
    def open(self, case: Case, threads: int) -> Iterator[Prepared]:
        """Compiles the model; see `Contender.open`."""
        if self._dense and case.is_dense:
            raise UnavailableError("the model is stored dense: see the other variant")
        model = case.filled if self._dense else case.model
        engine = compile_model(model, threads)
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
        )


CSBRNN: Final = (Csbrnn("as packed"), Csbrnn("unpruned", dense=True))
"""Every configuration that is measured."""
