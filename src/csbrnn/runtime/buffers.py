"""Memory for the C library: aligned to cache lines and, where large, on large pages."""

from __future__ import annotations

import mmap
from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.runtime.layout import LINE

__all__ = ["aligned"]

_HUGE: Final = 2 << 20
"""Size of a large page (x86-64, and AArch64 with pages of 4 KiB)."""


def aligned(nbytes: int) -> NDArray[np.uint8]:
    """Return zeroed bytes aligned to 64.

    From 2 MiB on, the memory is aligned to large pages and the kernel is asked to use them: a
    stream of weights then has no page boundary every 4 KiB, at which prefetching stops.
    """
    if nbytes >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
        area = mmap.mmap(-1, nbytes + _HUGE)  # stays mapped while an array refers to it
        area.madvise(mmap.MADV_HUGEPAGE)
        whole = np.frombuffer(area, np.uint8)
        start = -whole.ctypes.data % _HUGE
    else:
        whole = np.zeros(nbytes + LINE, np.uint8)
        start = -whole.ctypes.data % LINE
    return whole[start : start + nbytes]
