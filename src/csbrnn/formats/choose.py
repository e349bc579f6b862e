"""`encode`: the smallest way to store a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from csbrnn.formats.blocking import Blocking
from csbrnn.formats.csb import CSBMatrix, stored_nbytes
from csbrnn.formats.dense import DenseMatrix
from csbrnn.formats.format import MAX_BLOCKS, Matrix, check_weight
from csbrnn.numerics import FP32, Precision

__all__ = ["Candidate", "default_candidates", "encode"]


class Candidate(NamedTuple):
    """A way to cut a matrix for `CSBMatrix`: block and row group, as the pattern had them."""

    block: tuple[int, int]
    row_group: int = 1


def default_candidates(shape: tuple[int, int]) -> tuple[Candidate, ...]:
    """Return the blocks that `encode` tries on a matrix of unknown origin.

    Stripes of 4, 8 and 16 rows; square blocks with free rows; single rows, which bank-balanced and
    unstructured matrices need. Indices are local to a block, so 64 columns (6 bits) serve wider
    stripes as well. Blocks too small for the largest matrices are left out.
    Large row groups come first and so win ties: they fill SIMD lanes.
    """
    stripes = [Candidate((g, 64), g) for g in (16, 8, 4, 1)]
    squares = [Candidate((n, n), g) for n in (16, 32, 64) for g in (16, 4, 1)]
    return tuple(
        candidate
        for candidate in stripes + squares
        if math.prod(-(-size // b) for size, b in zip(shape, candidate.block, strict=True))
        <= MAX_BLOCKS
    )


def encode(
    weight: NDArray[Any],
    candidates: Sequence[Candidate] | None = None,
    precision: Precision = FP32,
) -> Matrix:
    """Return the smallest of dense and the CSB candidates, by total stored bits.

    Exact among what is tried: values, indices and padding are counted for each candidate before
    one is encoded. In fp32 it is lossless whatever wins. Ties go to dense, then to the earlier
    candidate. Where the pattern that made the matrix is known, pass its block and row group: they
    alone are then tried beside dense, which is faster, and finds blocks that the default list does
    not have.

    Args:
        weight: (rows, columns), fp32 and finite.
        candidates: Blocks and row groups to try; `default_candidates` if left out.
        precision: What the weights are rounded to. It decides how much an index weighs.

    Raises:
        ArgumentError: The weight can't be stored, or a candidate's sizes don't fit together.
    """
    weight = check_weight(weight)
    shape, nonzero = (weight.shape[0], weight.shape[1]), weight != 0
    dense = DenseMatrix(weight).with_precision(precision)
    best, least = None, dense.nbytes
    for block, row_group in default_candidates(shape) if candidates is None else candidates:
        nbytes = stored_nbytes(nonzero, Blocking(shape, block, row_group), precision)
        if nbytes < least:
            best, least = Candidate(block, row_group), nbytes
    if best is None:
        return dense
    return CSBMatrix.from_dense(weight, *best).with_precision(precision)
