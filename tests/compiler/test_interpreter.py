import numpy as np
import pytest

from csbrnn.cells import GRU, LSTM
from csbrnn.compiler import lower, run_program
from csbrnn.errors import ArgumentError
from csbrnn.model import Embedding, PackedModel, Tokens

from .models import matrix, single

RNG = np.random.default_rng(0)
FEATURES = lower(single(RNG, GRU))
TOKENS = lower(PackedModel((Embedding("e", ("input",), matrix(RNG, 5, 3)),), Tokens(5), "e"))


@pytest.mark.parametrize(
    ("program", "xs", "message"),
    [
        (FEATURES, np.zeros(5), r"xs must have shape \(seq_len, \.\.\., 5\), got \(5,\)"),
        (FEATURES, np.zeros((2, 4)), r"got \(2, 4\)"),
        (TOKENS, np.zeros(3), r"xs must hold integers, .* got float64 of \(3,\)"),
        (TOKENS, np.array([0, 5]), r"tokens must lie in 0\.\.4, got 0\.\.5"),
        (TOKENS, np.array([-1]), r"got -1\.\.-1"),
    ],
)
def test_inputs_that_do_not_fit(program, xs, message):
    with pytest.raises(ArgumentError, match=message):
        run_program(program, xs)


@pytest.mark.parametrize(
    "states", [{}, {"rnn.h": np.zeros((1, 3))}, {"rnn.h": np.zeros((1, 4)), "rnn.c": 0}]
)
def test_states_that_do_not_fit(states):
    with pytest.raises(ArgumentError, match=r"states must have the shapes \{'rnn\.h': \(1, 4\)\}"):
        run_program(FEATURES, np.zeros((2, 5)), states)


def test_empty_sequences_leave_the_states():
    start = {"rnn.h": np.ones((1, 4))}
    ys, states = run_program(FEATURES, np.zeros((0, 5)), start)
    assert ys.shape == (0, 4)
    np.testing.assert_array_equal(states["rnn.h"], start["rnn.h"])


def test_batches_are_independent():
    program = lower(single(RNG, LSTM, num_layers=2, bidirectional=True))
    xs = RNG.uniform(-1, 1, (3, 2, 2, 5))
    whole, _ = run_program(program, xs)
    one, _ = run_program(program, xs[:, 1, 0])
    np.testing.assert_allclose(whole[:, 1, 0], one, rtol=1e-13)


def test_the_given_states_are_not_changed():
    start = {"rnn.h": np.ones((1, 4))}
    run_program(FEATURES, np.zeros((2, 5)), start)
    assert (start["rnn.h"] == 1).all()
