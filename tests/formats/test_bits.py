import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats.bits import bit_width, pack, packed_nbytes, unpack


@given(
    st.integers(0, 32).flatmap(
        lambda width: st.tuples(st.just(width), st.lists(st.integers(0, (1 << width) - 1)))
    )
)
def test_round_trip(case):
    width, values = case
    packed = pack(np.array(values, np.int64), width)
    assert packed.nbytes == packed_nbytes(len(values), width)
    assert unpack(packed, width, len(values)).tolist() == values


def test_bits_are_least_significant_first():
    # 5 = 101, 1 = 001, 6 = 110: the stream is 101 100 01|1, lowest bit first.
    assert pack(np.array([5, 1, 6]), 3).tolist() == [0b10001101, 0b1]


@pytest.mark.parametrize(("count", "width"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_width_tells_values_apart(count, width):
    assert bit_width(count) == width


@pytest.mark.parametrize("value", [-1, 8])
def test_value_too_large_is_refused(value):
    with pytest.raises(ArgumentError, match=r"values must lie in 0\.\.7 to be packed in 3 bits"):
        pack(np.array([value]), 3)


@pytest.mark.parametrize("width", [-1, 33])
def test_width_out_of_range_is_refused(width):
    with pytest.raises(ArgumentError, match=r"must be in 0\.\.32 bits"):
        unpack(np.zeros(0, np.uint8), width, 0)


@pytest.mark.parametrize("nbytes", [1, 3])
def test_wrong_size_is_refused(nbytes):
    with pytest.raises(FormatError, match="9 bits must take 2 bytes, not"):
        unpack(np.zeros(nbytes, np.uint8), 3, 3)


def test_padding_must_be_zero():
    with pytest.raises(FormatError, match="the last 7 bits of 2 packed bytes must be zero"):
        unpack(np.array([0, 2], np.uint8), 3, 3)
