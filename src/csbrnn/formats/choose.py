"""`encode`: the smallest way to store a matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from csbrnn.formats.candidate import Candidate, CSBCandidate, CSRCandidate
from csbrnn.formats.dense import DenseMatrix
from csbrnn.formats.format import MAX_BLOCKS, Matrix, check_weight
from csbrnn.numerics import FP32, Precision

__all__ = ["default_candidates", "encode"]


def default_candidates(shape: tuple[int, int]) -> tuple[Candidate, ...]:
    """Return what `encode` tries on a matrix of unknown origin.

    CSB in stripes of 4, 8 and 16 rows, in square blocks with free rows, and in single rows, for
    scattered weights; then CSR, whose index is shorter in some small matrices. Indices are local
    to a block, so 64 columns (6 bits) serve wider stripes as well. Blocks too small for the largest
    matrices are left out.
    Large row groups come first and so win ties: they fill SIMD lanes.
    """
    stripes = [CSBCandidate((g, 64), g) for g in (16, 8, 4, 1)]
    squares = [CSBCandidate((n, n), g) for n in (16, 32, 64) for g in (16, 4, 1)]
    fitting = [
        candidate
        for candidate in stripes + squares
        if math.prod(-(-size // b) for size, b in zip(shape, candidate.block, strict=True))
        <= MAX_BLOCKS
    ]
    return *fitting, CSRCandidate()


def encode(
    weight: NDArray[Any],
    candidates: Sequence[Candidate] | None = None,
    precision: Precision = FP32,
) -> Matrix:
    """Return the smallest of dense and the candidates, by total stored bits.

    Exact among what is tried: values, indices and padding are counted for each candidate before
    one is encoded. In fp32 it is lossless whatever wins. Ties go to dense, then to the earlier
    candidate. Where the pattern that made the matrix is known, pass the formats that fit it: they
    alone are then tried beside dense, which is faster, and finds parameters that the default list
    does not have.

    Args:
        weight: (rows, columns), fp32 and finite.
        candidates: What to try; `default_candidates` if left out.
        precision: What the weights are rounded to. It decides how much an index weighs.

    Raises:
        ArgumentError: The weight can't be stored, or a candidate's sizes don't fit together.
    """
    weight = check_weight(weight)
    nonzero = weight != 0
    dense = DenseMatrix(weight).with_precision(precision)
    best, least = None, dense.nbytes
    if candidates is None:
        candidates = default_candidates((weight.shape[0], weight.shape[1]))
    for candidate in candidates:
        nbytes = candidate.nbytes(weight, nonzero, precision)
        if nbytes is not None and nbytes < least:
            best, least = candidate, nbytes
    return dense if best is None else best.encode(weight).with_precision(precision)
