"""Memory for the C library: aligned, zeroed and, where large, on large pages."""

import mmap
from pathlib import Path

import numpy as np
import pytest

from csbrnn.runtime.buffers import aligned

LARGE = 2 << 20
FROM = LARGE // 4
SMAPS = Path("/proc/self/smaps")


@pytest.mark.parametrize("nbytes", [1, 4096, FROM - 1, FROM, LARGE, 3 * LARGE + 64])
def test_is_zeroed_and_aligned(nbytes: int) -> None:
    buffer = aligned(nbytes)
    assert buffer.shape == (nbytes,)
    assert not buffer.any()
    assert buffer.ctypes.data % (LARGE if nbytes >= FROM else 64) == 0
    buffer[...] = 255
    assert not aligned(nbytes).any()


@pytest.mark.skipif(
    not (hasattr(mmap, "MADV_HUGEPAGE") and SMAPS.exists() and "VmFlags" in SMAPS.read_text()),
    reason="the system does not tell what it was asked for",
)
@pytest.mark.parametrize("nbytes", [FROM, LARGE, 2 * LARGE + 64])
def test_large_pages_are_asked_for_where_the_kernel_gives_them(nbytes: int) -> None:
    """Memory to share gets none: flags "sh", and its own setting, which is off by default."""
    buffer = aligned(nbytes)
    flags, begin, end = mapping_of(buffer)
    assert "hg" in flags
    assert "sh" not in flags
    first, last = buffer.ctypes.data, buffer.ctypes.data + nbytes - 1
    assert begin <= first // LARGE * LARGE
    assert last // LARGE * LARGE + LARGE <= end  # or the last one would be cut off


def test_a_kernel_without_large_pages_gives_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmap, "MADV_HUGEPAGE", 12345, raising=False)  # which no kernel knows
    with pytest.raises(OSError):
        mmap.mmap(-1, LARGE).madvise(12345)
    assert not aligned(LARGE).any()


def mapping_of(buffer: np.ndarray) -> tuple[list[str], int, int]:
    """What /proc says of the mapping in which a buffer lies: its flags, begin and end."""
    inside = False
    begin = end = 0
    for line in SMAPS.read_text().splitlines():
        first = line.split()[0]
        if "-" in first and ":" not in first:
            begin, end = (int(address, 16) for address in first.split("-"))
            inside = begin <= buffer.ctypes.data < end
        elif inside and first == "VmFlags:":
            return line.split()[1:], begin, end
    raise AssertionError("the buffer is nowhere")
