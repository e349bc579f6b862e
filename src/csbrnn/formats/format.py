"""`Matrix`: a weight matrix as it is stored, whatever the format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats.fields import Fields, shown

__all__ = [
    "MAX_BLOCKS",
    "MAX_DIMENSION",
    "MAX_WEIGHTS",
    "Float32Array",
    "Matrix",
    "check_shape",
    "check_weight",
    "read_only",
    "read_shape",
    "read_values",
    "take_arrays",
]

Float32Array = NDArray[np.float32]

MAX_DIMENSION = 1 << 24
"""Most rows or columns of a matrix. Ours: far above any vocabulary, and indices fit 24 bits."""

MAX_WEIGHTS = 1 << 30
"""Most weights of a matrix, pruned ones included. Ours: 4 GiB of dense fp32, 80 times the largest
network of the CSB-RNN paper; without a cap, a file of 200 bytes could declare a matrix of zeros
that no machine can expand."""


MAX_BLOCKS = 1 << 22
"""Most blocks of a CSB matrix. Ours: a block can be as little as one bit of a file, and takes about
64 bytes while it is read, so this is 256 MiB."""


class Matrix(ABC):
    """A stored weight matrix of shape (outputs, inputs); immutable, its arrays read-only.

    Attributes:
        FORMAT: The format's name in files and in `FORMATS`.
        shape: (rows, columns) of the dense matrix.
    """

    FORMAT: ClassVar[str]
    shape: tuple[int, int]

    @property
    def dtype(self) -> str:
        """The number format of the values: "fp32", so far the only one."""
        return "fp32"

    @property
    def size(self) -> int:
        """Weights of the dense matrix, pruned ones included."""
        return self.shape[0] * self.shape[1]

    @property
    @abstractmethod
    def kept(self) -> int:
        """Weights stored, those that happen to be zero included."""

    @property
    @abstractmethod
    def index_bits(self) -> int:
        """Bits of everything stored that is not a value, padding to whole bytes included."""

    @property
    def nbytes(self) -> int:
        """All bytes of the stored arrays, indices included (the JSON header is not)."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def density(self) -> float:
        """Kept / total; 1 for a matrix without weights."""
        return self.kept / self.size if self.size else 1.0

    @abstractmethod
    def to_dense(self) -> Float32Array:
        """Return the dense matrix as a new array.

        Shape:
            returns: (rows, columns)
        """

    @abstractmethod
    def header(self) -> dict[str, Any]:
        """Return what a reader must know to interpret `arrays`, as JSON-able values."""

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays as stored, by name."""

    @classmethod
    @abstractmethod
    def from_arrays(
        cls, header: Mapping[str, object], arrays: Mapping[str, NDArray[Any]], where: str = "header"
    ) -> Matrix:
        """Read `header` and `arrays` back, trusting neither.

        The arrays are used in place, not copied. What is allocated is bounded by a multiple of
        their size, whatever the header says.

        Args:
            header: As `header` returned it, from a stranger.
            arrays: As `arrays` returned them, from a stranger.
            where: The header's place, for messages.

        Raises:
            FormatError: Anything is missing, unknown, out of bounds or inconsistent.
        """

    def __repr__(self) -> str:
        rows, columns = self.shape
        return f"{type(self).__name__}({rows}x{columns}, kept={self.kept}, nbytes={self.nbytes})"


def check_shape(shape: tuple[int, int]) -> None:
    """Refuse a shape beyond the caps.

    Raises:
        ArgumentError: A dimension or the number of weights is out of range.
    """
    if not all(0 <= size <= MAX_DIMENSION for size in shape) or shape[0] * shape[1] > MAX_WEIGHTS:
        raise ArgumentError(
            f"a matrix must have at most {MAX_DIMENSION} rows, {MAX_DIMENSION} columns and"
            f" {MAX_WEIGHTS} weights, not shape {shape}"
        )


def check_weight(weight: NDArray[Any]) -> Float32Array:
    """Return ``weight`` as a C-ordered array, refusing what can't be stored without loss.

    Raises:
        ArgumentError: Not a finite two-dimensional fp32 array within the caps.
    """
    if not isinstance(weight, np.ndarray) or weight.ndim != 2 or weight.dtype != np.float32:
        got = (
            f"a {weight.dtype} array of shape {weight.shape}"
            if isinstance(weight, np.ndarray)
            else type(weight).__name__
        )
        raise ArgumentError(f"a weight matrix must be a 2-D float32 array, not {got}")
    check_shape((weight.shape[0], weight.shape[1]))
    if not np.isfinite(weight).all():
        raise ArgumentError("a weight matrix must be finite; it holds NaN or infinity")
    return np.ascontiguousarray(weight, np.float32)


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of ``array`` that can't be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def read_shape(fields: Fields) -> tuple[int, int]:
    """Read ``shape`` and ``dtype``, which every format's header has.

    Raises:
        FormatError: Either is missing, of the wrong type or out of range.
    """
    fields.choice("dtype", ("fp32",))
    rows, columns = fields.integers("shape", 2, 0, MAX_DIMENSION)
    if rows * columns > MAX_WEIGHTS:
        raise FormatError(
            f"{fields.place('shape')} must have at most {MAX_WEIGHTS} weights, not {rows * columns}"
        )
    return rows, columns


def take_arrays(
    arrays: Mapping[str, NDArray[Any]], dtypes: Mapping[str, type[np.generic]], where: str
) -> list[NDArray[Any]]:
    """Return the arrays named by ``dtypes``, in its order, refusing others and other dtypes.

    Raises:
        FormatError: An array is missing, unknown or of another dtype.
    """
    unknown = ", ".join(shown(name) for name in sorted(set(arrays) - set(dtypes))[:8])
    if unknown:
        raise FormatError(f"{where} has unknown arrays: {unknown}")
    for name, dtype in dtypes.items():
        if name not in arrays:
            raise FormatError(f"{where}: array {name} is missing")
        if arrays[name].dtype != np.dtype(dtype):
            raise FormatError(
                f"{where}: array {name} must be {np.dtype(dtype)}, not {arrays[name].dtype}"
            )
    return [arrays[name] for name in dtypes]


def read_values(values: NDArray[Any], shape: tuple[int, ...], where: str) -> Float32Array:
    """Return a view of finite fp32 values of the given shape.

    Raises:
        FormatError: The shape differs, or a value is NaN or infinite.
    """
    if values.shape != shape:
        raise FormatError(f"{where}: values must have shape {shape}, not {values.shape}")
    finite = np.isfinite(values)
    if not finite.all():
        first = int(np.argmin(finite.reshape(-1)))
        raise FormatError(f"{where}: values must be finite; number {first} is not")
    view: Float32Array = read_only(values)
    return view
