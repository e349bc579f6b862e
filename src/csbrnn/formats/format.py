"""`Matrix`: a weight matrix as it is stored, whatever the format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats.fields import Fields, shown
from csbrnn.numerics import FP32, PRECISIONS, Precision, Quantized
from csbrnn.numerics import check_weight as check_numbers

__all__ = [
    "MAX_BLOCKS",
    "MAX_DIMENSION",
    "MAX_WEIGHTS",
    "Float32Array",
    "Matrix",
    "check_shape",
    "check_weight",
    "number_nbytes",
    "read_only",
    "read_shape",
    "read_values",
    "stored_dtypes",
    "take_arrays",
    "take_vectors",
]

Float32Array = NDArray[np.float32]
M = TypeVar("M", bound="Matrix")

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

    A format is a frozen dataclass. It says which weights it stores (`_gather`) and what else a
    reader must know (`parameters`, `_encoded`), and reads that back (`_read`).

    Attributes:
        FORMAT: The format's name in files and in `FORMATS`.
        shape: (rows, columns) of the dense matrix.
        values: The stored weights, in the precision's storage dtype.
        precision: The number format of the values.
        scales: (rows,) fp32 if the precision is scaled; else None.
    """

    FORMAT: ClassVar[str]
    shape: tuple[int, int]
    values: NDArray[Any]
    precision: Precision
    scales: Float32Array | None

    @property
    def dtype(self) -> str:
        """The name of the precision, as files have it."""
        return self.precision.name

    @property
    def layout(self) -> str:
        """The format and its parameters in a few words, for tables."""
        return self.FORMAT

    @property
    def size(self) -> int:
        """Weights of the dense matrix, pruned ones included."""
        return self.shape[0] * self.shape[1]

    @property
    def kept(self) -> int:
        """Weights stored, those that happen to be zero included."""
        return self.values.size

    @property
    def multiplied(self) -> int:
        """Weights that a product multiplies: those kept, unless one stored stands for several."""
        return self.kept

    @property
    def index_bits(self) -> int:
        """Bits of what is neither a value nor a scale, padding to whole bytes included."""
        return 8 * sum(array.nbytes for array in self._encoded.values())

    @property
    def nbytes(self) -> int:
        """All bytes of the stored arrays, indices included (the JSON header is not)."""
        return sum(array.nbytes for array in self.arrays().values())

    @property
    def density(self) -> float:
        """Kept / total; 1 for a matrix without weights."""
        return self.kept / self.size if self.size else 1.0

    @abstractmethod
    def to_quantized(self) -> Quantized:
        """Return the dense matrix as stored: values, zero where nothing is kept, and scales.

        Shape:
            returns: (rows, columns) in the precision's storage dtype, and (rows,) or None
        """

    def to_dense(self) -> Float32Array:
        """Return the dense matrix in fp32, exactly as it is stored, as a new array.

        Shape:
            returns: (rows, columns)
        """
        return self.precision.dequantize(self.to_quantized())

    @abstractmethod
    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        """Return the weights of a dense array that are stored, shaped and ordered as `values`."""

    def with_precision(self: M, precision: Precision) -> M:
        """Return the matrix with its weights in another precision, the same ones kept.

        Itself if it has that precision. Weights that become zero are still kept.

        Raises:
            ArgumentError: It has more columns than the precision allows.
        """
        if precision is self.precision:
            return self
        dense, scales = precision.quantize(self.to_dense())
        return replace(  # type: ignore[type-var]
            self,
            values=read_only(self._gather(dense)),
            precision=precision,
            scales=None if scales is None else read_only(scales),
        )

    def header(self) -> dict[str, Any]:
        """Return what a reader must know to interpret `arrays`, as JSON-able values."""
        common = {"format": self.FORMAT, "shape": list(self.shape), "dtype": self.dtype}
        return common | self.parameters()

    def parameters(self) -> dict[str, Any]:
        """Return what the format adds to the `header` that all have."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays as stored, by name: ``values``, perhaps ``scales``, the index."""
        scales = {} if self._stored_scales is None else {"scales": self._stored_scales}
        return {"values": self.values, **scales, **self._encoded}

    @property
    def _stored_scales(self) -> Float32Array | None:
        return self.scales

    @property
    def _encoded(self) -> Mapping[str, NDArray[np.uint8]]:
        """The index as stored, by name."""
        return {}

    @classmethod
    def from_arrays(
        cls: type[M],
        header: Mapping[str, object],
        arrays: Mapping[str, NDArray[Any]],
        where: str = "header",
    ) -> M:
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
        fields = Fields(header, where)
        fields.choice("format", (cls.FORMAT,))
        shape, precision = read_shape(fields)
        return cls._read(fields, shape, precision, arrays, where)

    @classmethod
    @abstractmethod
    def _read(
        cls: type[M],
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> M:
        """`from_arrays`, with the fields that the format adds to the header not yet read."""

    def __repr__(self) -> str:
        rows, columns = self.shape
        number = "" if self.precision is FP32 else f" {self.dtype}"
        return (
            f"{type(self).__name__}({rows}x{columns}{number}, kept={self.kept},"
            f" nbytes={self.nbytes})"
        )


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
    weight = check_numbers(weight)
    check_shape((weight.shape[0], weight.shape[1]))
    return weight


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view of ``array`` that can't be written through."""
    view = array.view()
    view.flags.writeable = False
    return view


def read_shape(fields: Fields) -> tuple[tuple[int, int], Precision]:
    """Read ``shape`` and ``dtype``, which every format's header has.

    Raises:
        FormatError: Either is missing, of the wrong type or out of range.
    """
    precision = PRECISIONS[fields.choice("dtype", PRECISIONS)]
    rows, columns = fields.integers("shape", 2, 0, MAX_DIMENSION)
    if rows * columns > MAX_WEIGHTS:
        raise FormatError(
            f"{fields.place('shape')} must have at most {MAX_WEIGHTS} weights, not {rows * columns}"
        )
    if problem := precision.column_problem(columns):
        raise FormatError(f"{fields.place('shape')} {problem}")
    return (rows, columns), precision


def stored_dtypes(precision: Precision) -> dict[str, np.dtype[Any]]:
    """Return the arrays that hold a matrix's numbers, by name: ``values``, perhaps ``scales``."""
    scales = {"scales": np.dtype(np.float32)} if precision.scaled else {}
    return {"values": precision.storage} | scales


def number_nbytes(precision: Precision, weights: int, scales: int) -> int:
    """Return the bytes of so many weights and, if the precision has any, of so many scales."""
    return precision.storage.itemsize * weights + (4 * scales if precision.scaled else 0)


def take_arrays(
    arrays: Mapping[str, NDArray[Any]], dtypes: Mapping[str, np.dtype[Any]], where: str
) -> dict[str, NDArray[Any]]:
    """Return the arrays named by ``dtypes``, refusing others and other dtypes.

    Raises:
        FormatError: An array is missing, unknown or of another dtype.
    """
    unknown = ", ".join(shown(name) for name in sorted(set(arrays) - set(dtypes))[:8])
    if unknown:
        raise FormatError(f"{where} has unknown arrays: {unknown}")
    for name, dtype in dtypes.items():
        if name not in arrays:
            raise FormatError(f"{where}: array {name} is missing")
        if arrays[name].dtype != dtype:
            raise FormatError(f"{where}: array {name} must be {dtype}, not {arrays[name].dtype}")
    return {name: arrays[name] for name in dtypes}


def take_vectors(
    arrays: Mapping[str, NDArray[Any]], dtypes: Mapping[str, np.dtype[Any]], where: str
) -> dict[str, NDArray[Any]]:
    """Return arrays as `take_arrays` does, all of one dimension.

    Raises:
        FormatError: Also where an array has another number of dimensions.
    """
    taken = take_arrays(arrays, dtypes, where)
    for name, array in taken.items():
        if array.ndim != 1:
            raise FormatError(
                f"{where}: array {name} must be one-dimensional, not of shape {array.shape}"
            )
    return taken


def read_values(
    precision: Precision,
    values: NDArray[Any],
    scales: NDArray[Any] | None,
    shape: tuple[int, ...],
    rows: int,
    where: str,
) -> Quantized:
    """Return views of values of the given shape, and of their scales, checked.

    Raises:
        FormatError: A shape differs, or a number is none that the precision has.
    """
    if values.shape != shape:
        raise FormatError(f"{where}: values must have shape {shape}, not {values.shape}")
    if scales is not None and scales.shape != (rows,):
        raise FormatError(f"{where}: scales must have shape ({rows},), not {scales.shape}")
    problem = precision.problem(values, scales)
    if problem is not None:
        raise FormatError(f"{where}: {problem}")
    return Quantized(read_only(values), None if scales is None else read_only(scales))
