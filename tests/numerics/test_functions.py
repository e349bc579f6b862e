"""Softmax and its logarithm: against their equations, and where those would overflow."""

import numpy as np

from csbrnn.numerics import log_softmax, softmax


def test_softmax_is_what_its_equation_says():
    v = np.random.default_rng(0).normal(0, 3, (4, 5, 7))
    expected = np.exp(v) / np.exp(v).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(softmax(v), expected, rtol=1e-14)
    np.testing.assert_allclose(log_softmax(v), np.log(expected), rtol=1e-13)
    assert softmax(v.astype(np.float32)).dtype == log_softmax(v.astype(np.float32)).dtype == "f4"


def test_large_values_neither_overflow_nor_vanish_in_the_logarithm():
    v = np.array([1000.0, 0.0, -1000.0])
    np.testing.assert_array_equal(softmax(v), [1, 0, 0])
    np.testing.assert_array_equal(log_softmax(v), [0, -1000, -2000])
