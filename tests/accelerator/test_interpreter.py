"""The fixed-point interpreter against float64, within what rounding explains."""

import numpy as np
import pytest

from csbrnn.accelerator import fixed_step, run_fixed
from csbrnn.accelerator.interpreter import FixedMachine, host_input, vector_arithmetic
from csbrnn.cells import CELLS
from csbrnn.compiler import lower, run_program
from csbrnn.errors import ArgumentError
from csbrnn.formats import DenseMatrix
from csbrnn.model import (
    Activation,
    Embedding,
    Features,
    Linear,
    PackedModel,
    Tokens,
    quantize,
    run_reference,
)

from .models import ARCH, cell_model, features

# Per step, rounding moves a gate's sum by some 2^-14 (x, weights), activations by 1e-4; recurrent
# weights of the test models feed errors back several times. Ten times what was seen.
TOLERANCE = 0.01


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("layers", [1, 2])
def test_every_cell(cell, layers):
    rng = np.random.default_rng(1)
    model = cell_model(rng, cell, layers=layers, hidden=12)
    xs = features(rng, 20)
    step = fixed_step(model, ARCH, input_range=4)
    got, expected = run_fixed(step, ARCH, xs), run_reference(model, xs)[0]
    np.testing.assert_allclose(got, expected, atol=TOLERANCE * max(1, np.abs(expected).max()))
    assert np.abs(got - expected).max() > 0


def test_more_bits_are_nearer():
    rng = np.random.default_rng(2)
    model = cell_model(rng, "lstm", layers=2, hidden=24)
    xs = features(rng, 30)
    expected = run_reference(model, xs)[0]
    errors = [
        np.abs(run_fixed(fixed_step(quantize(model, p), ARCH), ARCH, xs) - expected).max()
        for p in ("fixed16", "fixed12")
    ]
    assert errors[0] < 2e-3 < 10 * errors[0] < 10 * errors[1] < 1


def test_a_batch_runs_side_by_side():
    rng = np.random.default_rng(3)
    model = cell_model(rng, "gru")
    step = fixed_step(model, ARCH)
    xs = np.stack([features(rng, 6), features(rng, 6)], axis=1)
    both = run_fixed(step, ARCH, xs)
    for k in range(2):
        np.testing.assert_array_equal(both[:, k], run_fixed(step, ARCH, xs[:, k]))
    assert run_fixed(step, ARCH, xs[:0]).shape == (0, 2, 12)


@pytest.mark.parametrize("log", [False, True])
def test_tokens_and_softmax_are_the_host_s(text_model, log):
    last = Activation("probabilities", ("output",), "log_softmax" if log else "softmax")
    model = PackedModel((*text_model.layers, last), text_model.input, "probabilities")
    xs = np.random.default_rng(0).integers(0, text_model.input.vocabulary, 12)
    step = fixed_step(model, ARCH)
    np.testing.assert_allclose(
        run_fixed(step, ARCH, xs), run_reference(model, xs)[0], atol=TOLERANCE
    )
    with pytest.raises(ArgumentError, match=r"tokens 0\.\.8"):
        run_fixed(step, ARCH, np.array([9]))


def test_inputs_are_rounded_and_saturate():
    rng = np.random.default_rng(4)
    step = fixed_step(cell_model(rng, "rnn_tanh", size=3), ARCH, input_range=4)
    assert step.input.frac == 13
    xs = np.array([[4.5, -9.0, 1.00006]])
    assert host_input(step, xs).tolist() == [[32767, -32768, 8192]]
    with pytest.raises(ArgumentError, match=r"shape \(seq_len, ..., 3\)"):
        host_input(step, np.zeros((2, 4)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_must_be_finite(value):
    step = fixed_step(cell_model(np.random.default_rng(4), "rnn_tanh", size=3), ARCH)
    xs = np.zeros((2, 3))
    xs[1, 2] = value
    with pytest.raises(ArgumentError, match=r"must be finite, and xs\[1, 2\] is not"):
        host_input(step, xs)


def test_two_weights_of_one_sum_share_a_point_and_keep_their_values():
    """Weights of one size and inputs of another: products are shifted, nothing is lost."""
    weight = DenseMatrix(np.array([[1.5, -0.25]], np.float32))
    model = PackedModel((Linear("l", ("input",), weight),), Features(2), "l")
    step = fixed_step(model, ARCH, input_range=2)
    assert not step.notes
    xs = np.array([[1.0, 0.5]])
    assert run_fixed(step, ARCH, xs).tolist() == [[1.375]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # total, drain_shift, v, a, e, act, combine
        ((24576, 13, None, None, None, 0, 0), 3),
        ((None, 0, 100, None, 7, 0, 1), 107),
        ((None, 0, 100, None, 7, 0, 2), 93),
        ((None, 0, 100, None, 7, 0, 3), -93),
        ((None, 0, 100, None, None, 0, 3), -100),
        ((None, 0, -5, None, None, 3, 0), 0),
        ((None, 0, 0, None, None, 1, 0), 16384),
        ((None, 0, 3, 16384, None, 0, 0), 2),  # 1.5 rounds up
        ((None, 0, -3, 16384, None, 0, 0), -1),  # -1.5 rounds up, too
        ((2**33, 0, None, None, None, 0, 0), 2**19 - 1),  # saturates
        ((2**33, 0, -5, None, None, 0, 0), 2**19 - 6),  # before v is added
    ],
)
def test_vector_arithmetic(arguments, expected):
    total, shift, *operands, act, combine = arguments
    arrays = [None if o is None else np.array([o]) for o in (total, *operands)]
    result = vector_arithmetic(ARCH, arrays[0], shift, *arrays[1:], act, combine)
    assert result.tolist() == [expected]


def test_states_can_be_looked_at():
    rng = np.random.default_rng(5)
    model = cell_model(rng, "lstm")
    step = fixed_step(model, ARCH)
    machine = FixedMachine(step, ARCH)
    (c,) = step.states["rnn.c"]
    assert not machine.state(c).any()
    machine.step(host_input(step, features(rng, 1))[0])
    assert machine.state(c).any()


def test_the_program_is_the_one_that_everything_else_runs():
    rng = np.random.default_rng(6)
    model = cell_model(rng, "lstm", outputs=4)
    program = lower(model, fuse=False)
    xs = features(rng, 5)
    got = run_fixed(fixed_step(program, ARCH), ARCH, xs)
    np.testing.assert_array_equal(got, run_fixed(fixed_step(model, ARCH), ARCH, xs))
    np.testing.assert_allclose(got, run_program(program, xs)[0], atol=TOLERANCE)


def test_an_embedding_s_range_is_its_table_s():
    table = np.array([[100.0, -3.0], [1.0, 2.0]], np.float32)
    model = PackedModel(
        (
            Embedding("e", ("input",), DenseMatrix(table)),
            Linear("l", ("e",), DenseMatrix(np.array([[0.01, 0.5]], np.float32))),
        ),
        Tokens(2),
        "l",
    )
    step = fixed_step(model, ARCH)
    assert step.input.frac == 8
    got = run_fixed(step, ARCH, np.array([0, 1]))
    np.testing.assert_allclose(got, [[-0.5], [1.01]], atol=0.02)
