"""`Contender`: something that can run a case, and what it must offer to be checked and timed."""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.cases import Case
from csbrnn.bench.layouts import DENSE
from csbrnn.errors import CsbrnnError
from csbrnn.model import Embedding, PackedModel

__all__ = [
    "PEER_TOLERANCES",
    "Array",
    "Contender",
    "Prepared",
    "UnavailableError",
    "WrongResultsError",
    "bytes_read",
    "require_package",
]

Array: TypeAlias = NDArray[Any]

PEER_TOLERANCES: Final = {"fp32": 1e-4, "bf16": 0.05, "int8": 0.1}
"""Precision -> largest error accepted against the unrounded model, relative to the largest output
(at least 1).

fp32: sums of 1500 products with unit variance lose 1e-5 at worst; ten times that allows for fast
activations. bf16, int8: eight-bit mantissas and levels give errors of 1% a product, carried from
step to step; a wrong gate order or a lost state errs by 1.
"""


class UnavailableError(CsbrnnError):
    """A contender can't take this case here; says why. `run_bench` lists it and goes on."""


class WrongResultsError(UnavailableError):
    """A contender computes something else than it should."""


@dataclass(frozen=True)
class Prepared:
    """A contender ready to run one model with one thread count: plain callables, ready to time.

    Attributes:
        step: Runs one time step from the input in place to the output in place, state carried.
            This is what is timed, so it does nothing else.
        set_input: Puts one step's input in place. Shape: (features,), or () for a token.
        output: The last step's output. Shape: (output_size,).
        reset: Sets the states to zero.
        nbytes: Bytes of weights and indices that a step reads.
        sequence: From inputs, shape (seq_len, ...), to a call that runs them all from zero states
            and returns the outputs, shape (seq_len, output_size). None if there is no such call.
        active: Entered around each time slice, for settings that hold in the whole process.
        matvec: Makes a call that runs a step's matrix-vector products and nothing else, checked by
            the contender; None if this model's can't run alone. None if it has no such call.
    """

    step: Callable[[], object]
    set_input: Callable[[Array], None]
    output: Callable[[], Array]
    reset: Callable[[], None]
    nbytes: int
    sequence: Callable[[Array], Callable[[], Array]] | None = None
    active: Callable[[], AbstractContextManager[object]] = nullcontext
    matvec: Callable[[], Callable[[], object] | None] | None = None


class Contender(ABC):
    """One way to run a case.

    Attributes:
        name: Who: "csbrnn", "pytorch", "onnxruntime", "openvino".
        variant: In which configuration.
        precision: Of its weights; a key of `PEER_TOLERANCES`.
    """

    name: ClassVar[str]
    variant: str
    precision: str

    @abstractmethod
    def open(self, case: Case, threads: int) -> AbstractContextManager[Prepared]:
        """Makes ready to run the case; leaving the context restores what it changed.

        Raises:
            UnavailableError: It can't, and why.
        """

    def layout(self, case: Case) -> str:
        """The layout of the weights that it runs; peers run dense ones."""
        return DENSE

    def model(self, case: Case) -> PackedModel:
        """The model that it must compute, whose definition its results are compared with.

        Peers in any precision run the dense network that the case's weights stand for. (csbrnn's
        int8 engine and its definition also quantize activations; peers are not held to that.)
        """
        return case.dense

    @property
    def tolerance(self) -> float:
        """Largest error accepted, relative to the largest output (at least 1)."""
        return PEER_TOLERANCES[self.precision]


def bytes_read(model: PackedModel, bytes_per_weight: int = 4) -> int:
    """Bytes of weights, indices and vectors that one step must read.

    Of an embedding that is one row. ``bytes_per_weight`` other than 4 applies to the matrices,
    not to their indices.
    """
    total = 0
    for layer in model.layers:
        total += sum(vector.nbytes for vector in layer.vectors.values())
        for matrix in layer.matrices.values():
            if isinstance(layer, Embedding):
                total += 4 * matrix.shape[1]
            else:
                total += matrix.nbytes - (4 - bytes_per_weight) * matrix.kept
    return total


def require_package(name: str) -> ModuleType:
    """Imports an optional package.

    Raises:
        UnavailableError: It is not installed, or fails to load.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == name
        why = "is not installed: pip install 'csbrnn[bench]'" if missing else f"fails: {error}"
        raise UnavailableError(f"{name} {why}") from None


def as_float32(values: Array) -> Array:
    """A copy as C-ordered float32, as outputs are compared."""
    return np.array(values, np.float32, order="C")
