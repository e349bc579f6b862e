"""bfloat16: the upper half of an fp32 number, in a uint16 because NumPy has no such type."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bf16_from_fp32", "fp32_from_bf16"]

_INFINITY = 0x7F80


def bf16_from_fp32(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return the nearest finite bf16 of each finite number, ties to even.

    What would round to infinity (beyond 3.396e38) becomes the largest bf16 instead: the one
    difference to PyTorch's ``to(torch.bfloat16)``.
    """
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    nearest = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    overflown = (nearest & 0x7FFF) == _INFINITY
    finite: NDArray[np.uint16] = nearest - overflown.astype(np.uint16)
    return finite


def fp32_from_bf16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Return the numbers that bf16 bits stand for; exact."""
    wide: NDArray[Any] = bits.astype(np.uint32) << 16
    return wide.view(np.float32)
