"""Functions of real vectors that several executors compute: softmax and its logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_softmax", "softmax"]


def softmax(v: NDArray[Any]) -> NDArray[Any]:
    """Return exp(v) over its sum along the last axis; no finite v overflows.

    Shape:
        v, returns: (..., length)
    """
    powers = np.exp(v - v.max(axis=-1, keepdims=True))
    result: NDArray[Any] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def log_softmax(v: NDArray[Any]) -> NDArray[Any]:
    """Return the logarithm of `softmax`, exact where that is tiny.

    Shape:
        v, returns: (..., length)
    """
    shifted = v - v.max(axis=-1, keepdims=True)
    result: NDArray[Any] = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result
