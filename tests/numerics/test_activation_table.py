import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.numerics import sigmoid_fixed, tanh_fixed, tanh_table
from csbrnn.numerics.activation_table import MAX_SIGMOID_ERROR, MAX_TANH_ERROR

EVERY = np.arange(-(2**19), 2**19)  # of 20 bits
REAL = EVERY / 2**15


def test_the_stated_errors_hold_for_every_argument():
    table = tanh_table(256)
    tanh = np.abs(tanh_fixed(EVERY, table) / 2**15 - np.tanh(REAL)).max()
    sigmoid = np.abs(sigmoid_fixed(EVERY, table) / 2**15 - 1 / (1 + np.exp(-REAL))).max()
    assert MAX_TANH_ERROR / 2 < tanh <= MAX_TANH_ERROR
    assert MAX_SIGMOID_ERROR / 2 < sigmoid <= MAX_SIGMOID_ERROR


@pytest.mark.parametrize(
    ("segments", "tanh", "sigmoid"), [(128, 2.2e-4, 1.3e-4), (512, 5e-5, 4e-5)]
)
def test_the_errors_of_other_tables(segments, tanh, sigmoid):
    table = tanh_table(segments)
    assert np.abs(tanh_fixed(EVERY, table) / 2**15 - np.tanh(REAL)).max() <= tanh
    error = np.abs(sigmoid_fixed(EVERY, table) / 2**15 - 1 / (1 + np.exp(-REAL))).max()
    assert error <= sigmoid


def test_shape():
    table = tanh_table(256)
    tanh, sigmoid = tanh_fixed(EVERY, table), sigmoid_fixed(EVERY, table)
    np.testing.assert_array_equal(tanh[1:], -tanh[1:][::-1])
    assert tanh.max() == 32768
    assert (sigmoid.min(), sigmoid.max()) == (0, 32768)
    assert sigmoid_fixed(np.array([0]), table).tolist() == [16384]
    assert np.diff(tanh).min() >= -1  # at a segment's end
    # Beyond the table: as at its end, in wider formats too.
    assert tanh_fixed(np.array([2**22, -(2**22)]), table).tolist() == [32768, -32768]


def test_tables_fit_their_bits():
    for segments in (16, 256, 4096):
        base, slope = tanh_table(segments)
        assert base.shape == slope.shape == (segments,)
        assert base[0] == 0
        assert 0 <= base.min() <= base.max() <= 2**15
        assert 0 <= slope.min() <= slope.max() <= 2**14


@pytest.mark.parametrize("segments", [0, 8, 100, 8192])
def test_segments_are_a_power_of_two(segments):
    with pytest.raises(ArgumentError, match=r"power of two in 16\.\.4096, not"):
        tanh_table(segments)
