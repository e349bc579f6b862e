import tracemalloc

import numpy as np
import pytest

from csbrnn.errors import FormatError
from csbrnn.formats.rice import decode_positions, encode_positions, positions_nbytes


def at(*positions):
    return np.array(positions, np.int64)


def u8(*values):
    return np.array(values, np.uint8)


def test_bytes_counted_by_hand():
    # Gaps 3, 4, 8, k = 2: a zero for each 4, a one; then 3, 0, 0 in 2 bits. From the lowest bit on.
    data = encode_positions(at(3, 8, 17))
    assert data.tolist() == [3, 0, 0, 0, 2, 0b100_10_1, 0b00_00_11]
    assert decode_positions(data, 18, 3).tolist() == [3, 8, 17]


@pytest.mark.parametrize("count", [0, 1, 2, 7, 1000])
@pytest.mark.parametrize("places", [1, 8, 1000, 1 << 30])
def test_round_trip(count, places):
    rng = np.random.default_rng(count)
    positions = np.unique(rng.integers(0, places, count))
    data = encode_positions(positions)
    assert positions_nbytes(positions) == data.size
    np.testing.assert_array_equal(decode_positions(data, places, count), positions)


@pytest.mark.parametrize("density", [0.9, 0.5, 0.2, 0.01])
def test_k_is_the_best_and_near_the_entropy(density):
    rng = np.random.default_rng(0)
    positions = np.flatnonzero(rng.random(100_000) < density)
    gaps = np.diff(positions, prepend=-1) - 1
    bits = [int((gaps >> k).sum()) + positions.size * (k + 1) for k in range(31)]
    data = encode_positions(positions)
    assert data[4] == np.argmin(bits)
    assert 0 <= 8 * (data.size - 5) - min(bits) < 16
    entropy = -density * np.log2(density) - (1 - density) * np.log2(1 - density)
    # Above half, a gap takes a bit at least.
    assert 8 * data.size <= 100_000 * max(1.05 * entropy, 1.0) + 64


def test_nothing_takes_five_bytes():
    assert encode_positions(at()).tolist() == [0, 0, 0, 0, 0]
    assert decode_positions(u8(0, 0, 0, 0, 0), 0, 0).size == 0


@pytest.mark.parametrize(
    ("data", "places", "message"),
    [
        (u8(0, 0, 0, 0), 14, "at least 5 bytes, not 4"),
        (u8(3, 0, 0, 0, 31, 0b10011, 0b11), 14, "at most 30 low bits, not 31"),
        (u8(255, 255, 255, 255, 2, 0b10011, 0b11), 14, "4294967295 gaps of 2 low bits take more"),
        (u8(3, 0, 0, 0, 2, 0b10011, 0b11), 13, "beyond the 13 that there are"),
        (u8(3, 0, 0, 0, 2, 0b00011, 0b11), 14, "end with the last of 3, not hold 2"),
        (u8(3, 0, 0, 0, 2, 0b110011, 0b11), 14, "end with the last of 3, not hold 4"),
        (u8(3, 0, 0, 0, 2, 0b10011, 0, 0b11), 14, "end with the last of 3, not hold 3"),
        (u8(3, 0, 0, 0, 2, 0b10011, 0b1000011), 14, "last 2 bits"),
        (u8(1, 0, 0, 0, 30, 128, 255, 255, 255, 63), 1 << 30, "beyond the 1073741824"),
    ],
)
def test_hostile_bytes(data, places, message):
    with pytest.raises(FormatError, match=message):
        decode_positions(data, places, 1 << 32)


def test_a_later_line_than_any_is_refused_before_sums_overflow():
    # Each gap has 15 zeros of 2^30.
    count = 1 << 10
    unary = np.tile(u8(0, 128), count)
    data = np.concatenate([np.array([count], "<u4").view("u1"), u8(30), unary, u8(*[0] * 3840)])
    with pytest.raises(FormatError, match="beyond the"):
        decode_positions(data, 1 << 30, count)


def test_no_more_are_read_than_there_can_be():
    data = encode_positions(at(3, 8, 17))
    with pytest.raises(FormatError, match="at most 2 kept lines, not 3"):
        decode_positions(data, 18, 2)


@pytest.mark.parametrize("count", [8, 1 << 23])
def test_ones_without_end_take_little_memory(count):
    """A megabyte of ones: as a bitmap would, they take a byte each, not eight times five."""
    head = np.frombuffer(count.to_bytes(4, "little") + b"\0", np.uint8)
    data = np.concatenate([head, np.full(1 << 20, 255, np.uint8)])
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match="gaps must"):
            decode_positions(data, 1 << 30, 100)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
