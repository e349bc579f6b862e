"""`CirculantMatrix`: block-circulant weights, stored as the first column of each block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.errors import ArgumentError
from csbrnn.formats.block_grid import BlockGrid
from csbrnn.formats.blocking import Blocking
from csbrnn.formats.fields import Fields, located
from csbrnn.formats.format import (
    Float32Array,
    Matrix,
    check_weight,
    number_nbytes,
    read_only,
    read_values,
    stored_dtypes,
    take_vectors,
)
from csbrnn.formats.index import ENCODINGS
from csbrnn.numerics import FP32, Precision, Quantized

__all__ = ["MAX_CIRCULANT", "CirculantMatrix", "circulant_nbytes"]

MAX_CIRCULANT: Final = 4096
"""Most rows of a circulant block. Ours: the paper's have up to 64; bounds what a file of few bytes
can make a reader allocate."""

Float64Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class CirculantMatrix(Matrix):
    """A matrix of circulant blocks ``W[i, j] = v[(i - j) % block]``; blocks of zeros are left out.

    Make one with `from_dense`; the constructor trusts its arguments.

    In a scaled precision all rows of a row of blocks share one scale, or the blocks would not stay
    circulant. Where no block is cut off at the right edge, that is the scale each row has anyway:
    they hold the same weights.

    Attributes:
        grid: Shape, block, and which blocks are kept.
        values: (kept blocks * block,) in the precision's storage dtype: the first columns ``v``.
            Those of blocks at the edges are whole, too.
        precision: Number format of the values.
        block_scales: (rows of blocks,) fp32, if the precision is scaled.

    Reference:
        Li et al., "E-RNN" (HPCA 2019).
    """

    FORMAT: ClassVar[str] = "block_circulant"
    grid: BlockGrid
    values: NDArray[Any]
    precision: Precision = FP32
    block_scales: Float32Array | None = None

    @classmethod
    def from_dense(cls, weight: NDArray[Any], block: int) -> CirculantMatrix:
        """Store a matrix whose blocks are circulant.

        Args:
            weight: (rows, columns), fp32 and finite.
            block: Rows and columns of a block; may exceed the matrix.

        Raises:
            ArgumentError: The weight can't be stored, its blocks are not circulant, or the size of
                a block is out of range.
        """
        weight = check_weight(weight)
        if not 1 <= block <= MAX_CIRCULANT:
            raise ArgumentError(f"block must lie in 1..{MAX_CIRCULANT}, not {block}")
        grid = BlockGrid.of(weight != 0, (block, block))
        matrix = cls(grid, np.zeros(0, np.float32))
        matrix = replace(matrix, values=read_only(matrix._gather(weight)))
        wrong = matrix.to_dense() != weight
        if wrong.any():
            row, col = np.argwhere(wrong)[0]
            raise ArgumentError(
                f"blocks of {block} must be circulant, and the one with row {row}, column {col} is"
                " not; project the weight onto the pattern first"
            )
        return matrix

    @property
    def shape(self) -> tuple[int, int]:  # type: ignore[override]
        """(rows, columns) of the dense matrix."""
        return self.grid.blocking.shape

    @property
    def block(self) -> int:
        """Rows and columns of a block."""
        return self.grid.blocking.block[0]

    @property
    def layout(self) -> str:
        """See `Matrix.layout`."""
        return f"block_circulant {self.block}"

    @property
    def multiplied(self) -> int:
        """Weights of all kept blocks: products of the C runtime expand them."""
        return self.grid.kept

    @property
    def _stored_scales(self) -> Float32Array | None:
        return self.block_scales

    @property
    def scales(self) -> Float32Array | None:  # type: ignore[override]
        """(rows,) fp32, if the precision is scaled: those of the rows of blocks, repeated."""
        if self.block_scales is None:
            return None
        return read_only(np.repeat(self.block_scales, self.block)[: self.shape[0]])

    def vectors(self) -> NDArray[Any]:
        """Return the first columns of all blocks as stored, zero where a block is left out.

        Shape:
            returns: (down, across, block)
        """
        vectors = np.zeros((*self.grid.blocking.grid, self.block), self.values.dtype)
        vectors[self.grid.places] = self.values.reshape(-1, self.block)
        return vectors

    def first_columns(self) -> Float32Array:
        """Return `vectors` in fp32, exactly as they are stored.

        Shape:
            returns: (down, across, block)
        """
        vectors = self.vectors()
        flat = Quantized(vectors.reshape(len(vectors), _width(vectors)), self.block_scales)
        return self.precision.dequantize(flat).reshape(vectors.shape)

    def to_quantized(self) -> Quantized:
        """Return the dense matrix as stored."""
        dense = np.zeros(self.shape, self.values.dtype)
        vectors = self.vectors()
        for row in range(min(self.block, self.shape[0])):
            rows = dense[row :: self.block]
            rows[:] = _row(vectors, row)[: len(rows), : self.shape[1]]
        return Quantized(dense, self.scales)

    def product(self, x: NDArray[Any]) -> Float64Array:
        """Return the matrix times a vector, in fp64. A reference: turns each first column.

        Shape:
            x: (columns,)
            returns: (rows,)
        """
        vectors, padded = self.first_columns().astype(np.float64), self._padded(x).reshape(-1)
        y = np.zeros((len(vectors), self.block))
        for row in range(self.block):
            y[:, row] = _row(vectors, row) @ padded
        return y.reshape(-1)[: self.shape[0]]

    def product_by_fft(self, x: NDArray[Any]) -> Float64Array:
        """Return `product` by transforms, as a circulant block is a circular convolution.

        For each block, ``block / 2 + 1`` complex products instead of ``block ** 2`` real ones, and
        one transform for each row and each column of blocks. A reference, in fp64.

        Shape:
            x: (columns,)
            returns: (rows,)

        Reference:
            Li et al., "E-RNN" (HPCA 2019): sums come before the inverse transform.
        """
        spectra = np.fft.rfft(self.first_columns().astype(np.float64), axis=2)
        summed = (spectra * np.fft.rfft(self._padded(x), axis=1)).sum(axis=1)
        return np.fft.irfft(summed, self.block, axis=1).reshape(-1)[: self.shape[0]]

    def _padded(self, x: NDArray[Any]) -> Float64Array:
        """The vector in pieces of a block, zeros behind it. Shape: (across, block)."""
        if x.shape != (self.shape[1],):
            raise ArgumentError(f"x must have shape ({self.shape[1]},), not {x.shape}")
        across = self.grid.blocking.grid[1]
        padded = np.zeros((across, self.block))
        padded.reshape(-1)[: x.size] = x
        return padded

    def _gather(self, dense: NDArray[Any]) -> NDArray[Any]:
        blocks = _blocks(dense, self.block)
        vectors = blocks[..., 0].copy()
        short = dense.shape[0] % self.block
        if short and vectors.size:
            # What the first column lacks, the first row has, from right to left.
            vectors[-1, :, short:] = blocks[-1, :, 0, 1 : self.block - short + 1][:, ::-1]
        return vectors[self.grid.places].reshape(-1)

    def with_precision(self, precision: Precision) -> CirculantMatrix:
        """Return the matrix in another precision; see the class about scales."""
        if precision is self.precision:
            return self
        columns = self.first_columns()
        values, scales = precision.quantize(columns.reshape(len(columns), _width(columns)))
        stored = values.reshape(columns.shape)[self.grid.places].reshape(-1)
        return replace(
            self,
            values=read_only(stored),
            precision=precision,
            block_scales=None if scales is None else read_only(scales),
        )

    def parameters(self) -> dict[str, Any]:
        """Return block and the encoding of the index."""
        return {
            "block": self.block,
            "index": self.grid.index,
        }

    @property
    def _encoded(self) -> dict[str, NDArray[np.uint8]]:
        return {"blocks": read_only(self.grid.encoded)}

    @classmethod
    def _read(
        cls,
        fields: Fields,
        shape: tuple[int, int],
        precision: Precision,
        arrays: Mapping[str, NDArray[Any]],
        where: str,
    ) -> CirculantMatrix:
        block = fields.integer("block", 1, MAX_CIRCULANT)
        index = fields.choice("index", ENCODINGS)
        fields.done()
        with located(where):
            blocking = Blocking(shape, (block, block), block)
        dtypes = stored_dtypes(precision) | {"blocks": np.dtype(np.uint8)}
        taken = take_vectors(arrays, dtypes, where)
        stored, blocks = taken["values"], taken["blocks"]
        with located(f"{where}: blocks"):
            grid = BlockGrid.decode(blocking, index, blocks)
        values, scales = read_values(
            precision,
            stored,
            taken.get("scales"),
            (grid.kept_blocks * block,),
            blocking.grid[0],
            where,
        )
        return cls(grid, values, precision, scales)


def circulant_nbytes(weight: NDArray[Any], block: int, precision: Precision = FP32) -> int | None:
    """Return the `nbytes` that `CirculantMatrix.from_dense` would take; None if it can't hold it.

    Shape:
        weight: (rows, columns)
    """
    try:
        matrix = CirculantMatrix.from_dense(weight, block)
    except ArgumentError:
        return None
    down = matrix.grid.blocking.grid[0]
    return number_nbytes(precision, matrix.kept, down) + matrix.grid.nbytes


def _width(vectors: NDArray[Any]) -> int:
    return int(vectors.shape[1] * vectors.shape[2])


def _row(vectors: NDArray[Any], row: int) -> NDArray[Any]:
    """Return a row of every row of blocks: the first columns backwards from there, wrapped.

    Shape:
        vectors: (down, across, block)
        returns: (down, across * block)
    """
    turned = np.roll(vectors[..., ::-1], row + 1, axis=2)
    return turned.reshape(len(vectors), _width(vectors))


def _blocks(weight: NDArray[Any], block: int) -> NDArray[Any]:
    """Return the blocks of a matrix, zero beyond its edges. Shape: (down, across, block, block)."""
    down, across = (-(-size // block) for size in weight.shape)
    padded = np.zeros((down * block, across * block), weight.dtype)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    return padded.reshape(down, block, across, block).transpose(0, 2, 1, 3)
