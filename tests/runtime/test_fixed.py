"""Fixed point in the C runtime: the fp32 kernels, on the weights that are stored."""

import numpy as np
import pytest

from csbrnn.bench.contender_csbrnn import supported_precisions
from csbrnn.model import quantize
from csbrnn.runtime import compile as compile_model


@pytest.mark.parametrize("precision", ["fixed16", "fixed12"])
def test_the_same_bits_as_the_fp32_weights_that_it_stands_for(feature_model, precision):
    fixed = quantize(feature_model, precision)
    xs = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    got, _ = compile_model(fixed)(xs)
    expected, _ = compile_model(quantize(fixed, "fp32"))(xs)
    np.testing.assert_array_equal(got, expected)
    exact, _ = compile_model(feature_model)(xs)
    assert 0 < np.abs(got - exact).max() < 0.01


def test_it_has_no_kernels_of_its_own():
    assert not {"fixed16", "fixed12"} & set(supported_precisions())
