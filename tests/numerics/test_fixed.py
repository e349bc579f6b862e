import numpy as np
import pytest

from csbrnn.numerics import (
    FIXED12,
    FIXED16,
    MAX_WEIGHT_FRAC,
    fixed_frac,
    fixed_from_real,
    largest_value,
    round_shift,
    saturate,
)


@pytest.mark.parametrize(
    ("largest", "bits", "expected"),
    [
        (0.0, 16, 13),
        (1e-9, 16, 13),  # never more than 13
        (3.9, 16, 13),
        (4.0, 16, 12),
        (3.99996, 16, 12),  # 32767.67 would round to 32768
        (0.2, 12, 13),
        (0.25, 12, 12),
        (1.5, 12, 10),
        (1000.0, 12, 1),
        (3e38, 16, -113),
    ],
)
def test_frac_uses_the_bits(largest, bits, expected):
    frac = fixed_frac(largest, bits)
    assert frac == expected <= MAX_WEIGHT_FRAC
    value = np.rint(largest * 2.0**frac)
    assert value <= largest_value(bits) or frac == bits - 129
    assert frac == MAX_WEIGHT_FRAC or np.rint(largest * 2.0 ** (frac + 1)) > largest_value(bits)


def test_values_are_the_nearest_and_symmetric():
    x = np.array([0.5, 1.5, -0.5, -1.5, 100.0, -100.0, 0.24])
    assert fixed_from_real(x, 0, 4).tolist() == [0, 2, 0, -2, 7, -7, 0]
    assert fixed_from_real(x, 1, 12).tolist() == [1, 3, -1, -3, 200, -200, 0]


def test_shifts_round_half_up():
    v = np.array([-6, -5, -3, -2, -1, 0, 1, 2, 3, 5, 6])
    assert round_shift(v, 2).tolist() == [-1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 2]
    assert round_shift(v, 0).tolist() == v.tolist()
    assert v[0] == -6  # the argument is left alone


def test_saturation():
    assert saturate(np.array([-9, -8, 7, 8]), 4).tolist() == [-8, -8, 7, 7]


@pytest.mark.parametrize("precision", [FIXED16, FIXED12], ids=str)
def test_rounding_moves_a_weight_by_half_a_step(precision):
    weight = np.random.default_rng(0).normal(0, 0.5, (20, 30)).astype(np.float32)
    _, scales = precision.quantize(weight)
    error = np.abs(precision.rounded(weight) - weight).max()
    assert 0 < error <= scales[0] / 2
    assert (scales == scales[0]).all()


@pytest.mark.parametrize(
    ("values", "scales", "problem"),
    [
        ([[2048, 0]], [0.25], r"values must lie in -2047..2047; number 0 doesn't"),
        ([[1, 0], [1, 1]], [0.25, 0.5], "share one binary point"),
        ([[1, 0]], [0.3], r"power of two in 2\^-13 .. 2\^117"),
        ([[1, 0]], [2.0**-14], "power of two in"),
        ([[1, 0]], [np.nan], "share one binary point"),
        ([[1, 0]], [0.0], "power of two in"),
        ([[-2047, 5]], [2.0**-13], None),
    ],
)
def test_what_a_stranger_may_store(values, scales, problem):
    import re

    found = FIXED12.problem(np.array(values, np.int16), np.array(scales, np.float32))
    assert (found is None) == (problem is None)
    assert problem is None or re.search(problem, found)
