"""The ways in which `encode` may store a matrix: a format and its parameters, and what it takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats.blocking import Blocking
from csbrnn.formats.bsr import BSRMatrix, bsr_nbytes
from csbrnn.formats.circulant import CirculantMatrix, circulant_nbytes
from csbrnn.formats.csb import CSBMatrix, stored_nbytes
from csbrnn.formats.csr import CSRMatrix, csr_nbytes
from csbrnn.formats.format import Matrix
from csbrnn.formats.sparse_banks import SparseBanksMatrix, sparse_banks_nbytes
from csbrnn.numerics import Precision

__all__ = [
    "BSRCandidate",
    "CSBCandidate",
    "CSRCandidate",
    "Candidate",
    "CirculantCandidate",
    "SparseBanksCandidate",
]


@dataclass(frozen=True)
class Candidate(ABC):
    """A way to store a matrix without loss in fp32.

    Attributes:
        needs_zeros: Whether it is never smaller than dense on a matrix without zeros.
    """

    needs_zeros: ClassVar[bool] = True

    @abstractmethod
    def nbytes(
        self, weight: NDArray[Any], nonzero: NDArray[np.bool_], precision: Precision
    ) -> int | None:
        """Return the `nbytes` that the matrix would take; None if it can't be stored so.

        Args:
            weight: (rows, columns), fp32 and finite.
            nonzero: ``weight != 0``, which most need.
            precision: That of the values.

        Raises:
            ArgumentError: The parameters fit no matrix of that shape.
        """

    @abstractmethod
    def encode(self, weight: NDArray[Any]) -> Matrix:
        """Return the matrix, in fp32."""


@final
@dataclass(frozen=True)
class CSBCandidate(Candidate):
    """`CSBMatrix` of some block and row group, as the pattern had them."""

    block: tuple[int, int]
    row_group: int = 1

    def nbytes(
        self, weight: NDArray[Any], nonzero: NDArray[np.bool_], precision: Precision
    ) -> int | None:
        """See `Candidate.nbytes`."""
        return stored_nbytes(nonzero, self._blocking(weight), precision)

    def encode(self, weight: NDArray[Any]) -> Matrix:
        """See `Candidate.encode`."""
        return CSBMatrix.from_dense(weight, self.block, self.row_group)

    def _blocking(self, weight: NDArray[Any]) -> Blocking:
        return Blocking((weight.shape[0], weight.shape[1]), self.block, self.row_group)


@final
@dataclass(frozen=True)
class CSRCandidate(Candidate):
    """`CSRMatrix`, its gaps of the best width."""

    def nbytes(
        self, weight: NDArray[Any], nonzero: NDArray[np.bool_], precision: Precision
    ) -> int | None:
        """See `Candidate.nbytes`."""
        return csr_nbytes(nonzero, precision)

    def encode(self, weight: NDArray[Any]) -> Matrix:
        """See `Candidate.encode`."""
        return CSRMatrix.from_dense(weight)


@final
@dataclass(frozen=True)
class SparseBanksCandidate(Candidate):
    """`SparseBanksMatrix` of banks of some size."""

    bank_size: int

    def nbytes(
        self, weight: NDArray[Any], nonzero: NDArray[np.bool_], precision: Precision
    ) -> int | None:
        """See `Candidate.nbytes`."""
        return sparse_banks_nbytes(nonzero, self.bank_size, precision)

    def encode(self, weight: NDArray[Any]) -> Matrix:
        """See `Candidate.encode`."""
        return SparseBanksMatrix.from_dense(weight, self.bank_size)


@final
@dataclass(frozen=True)
class BSRCandidate(Candidate):
    """`BSRMatrix` of some block."""

    block: tuple[int, int]

    def nbytes(
        self, weight: NDArray[Any], nonzero: NDArray[np.bool_], precision: Precision
    ) -> int | None:
        """See `Candidate.nbytes`."""
        return bsr_nbytes(nonzero, self.block, precision)

    def encode(self, weight: NDArray[Any]) -> Matrix:
        """See `Candidate.encode`."""
        return BSRMatrix.from_dense(weight, self.block)


@final
@dataclass(frozen=True)
class CirculantCandidate(Candidate):
    """`CirculantMatrix` of some block, if the blocks are circulant."""

    needs_zeros: ClassVar[bool] = False

    block: int

    def nbytes(
        self, weight: NDArray[Any], nonzero: NDArray[np.bool_], precision: Precision
    ) -> int | None:
        """See `Candidate.nbytes`."""
        return circulant_nbytes(weight, self.block, precision)

    def encode(self, weight: NDArray[Any]) -> Matrix:
        """See `Candidate.encode`."""
        return CirculantMatrix.from_dense(weight, self.block)
