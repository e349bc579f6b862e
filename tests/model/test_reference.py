import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, run_reference
from csbrnn.model.layers import Activation, Combine

from .models import branching_model, elman_model, language_model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_language_model_step_by_hand():
    model = language_model()
    p = {
        f"{layer.name}/{n}": m.to_dense()
        for layer in model.layers
        for n, m in layer.matrices.items()
    } | {f"{layer.name}/{n}": v for layer in model.layers for n, v in layer.vectors.items()}
    h, c = np.zeros(6), np.zeros(6)
    expected = []
    for token in (3, 0, 6):
        x = p["embedding/weight"][token]
        gates = p["lstm/weight_ih_l0"].astype(float) @ x + p["lstm/bias_ih_l0"].astype(float)
        gates += p["lstm/weight_hh_l0"].astype(float) @ h + p["lstm/bias_hh_l0"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        logits = p["head/weight"].astype(float) @ h + p["head/bias"]
        expected.append(logits - np.log(np.exp(logits).sum()))
    got, states = run_reference(model, np.array([3, 0, 6]))
    assert got.dtype == np.float64
    # A handful of fp64 operations on numbers near 1.
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(states["lstm"]["h"][0], h, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(states["lstm"]["c"][0], c, rtol=1e-12, atol=1e-12)


def test_steps_with_state_are_the_sequence():
    model, tokens = language_model(), np.array([1, 2, 3, 4, 5])
    whole, end = run_reference(model, tokens)
    states = None
    for t in range(5):
        step, states = run_reference(model, tokens[t : t + 1], states)
        np.testing.assert_array_equal(step[0], whole[t])
    np.testing.assert_array_equal(states["lstm"]["c"], end["lstm"]["c"])


@pytest.mark.parametrize("build", [language_model, branching_model, elman_model])
def test_a_batch_is_its_sequences(build):
    model, rng = build(), np.random.default_rng(0)
    if isinstance(model.input, Features):
        xs = rng.standard_normal((4, 3, model.input.size))
    else:
        xs = rng.integers(model.input.vocabulary, size=(4, 3))
    together, states = run_reference(model, xs)
    for b in range(3):
        alone, state = run_reference(model, xs[:, b])
        # BLAS may add up in another order for a matrix than for a vector.
        np.testing.assert_allclose(together[:, b], alone, rtol=1e-12, atol=1e-14)
        for layer in state:
            for name, value in state[layer].items():
                np.testing.assert_allclose(states[layer][name][:, b], value, rtol=1e-12, atol=1e-14)


def test_fp32_throughout():
    got, states = run_reference(branching_model(), np.ones((2, 3)), dtype=np.float32)
    assert got.dtype == states["gru"]["h"].dtype == np.float32


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("relu", [0, 0, 1000]),
        ("tanh", [-1, 0, 1]),
        ("sigmoid", [0, 0.5, 1]),
        ("softmax", [0, 0, 1]),
        ("log_softmax", [-2000, -1000, 0]),
    ],
)
def test_activations_far_from_zero(function, expected):
    model = PackedModel((Activation("a", ("input",), function),), Features(3), "a")
    got, _ = run_reference(model, np.array([[-1000.0, 0, 1000]]))
    np.testing.assert_array_equal(got, [expected])


@pytest.mark.parametrize(
    ("function", "expected"), [("add", [11, 22]), ("multiply", [10, 40]), ("concatenate", None)]
)
def test_combinations(function, expected):
    tenfold = Linear("tenfold", ("input",), DenseMatrix(np.eye(2, dtype=np.float32) * 10))
    model = PackedModel((tenfold, Combine("c", ("input", "tenfold"), function)), Features(2), "c")
    got, _ = run_reference(model, np.array([[1.0, 2]]))
    np.testing.assert_array_equal(got, [expected or [1, 2, 10, 20]])


@pytest.mark.parametrize(
    ("build", "xs", "message"),
    [
        (branching_model, np.ones((2, 4)), r"xs must have shape \(seq_len, 3\) or"),
        (branching_model, np.ones(3), r"xs must have shape"),
        (language_model, np.ones(3), "xs must hold integers, of shape"),
        (language_model, np.array([7]), r"tokens must lie in 0\.\.6, not 7\.\.7"),
        (language_model, np.array([-1]), r"tokens must lie in 0\.\.6, not -1"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(build, xs, message):
    with pytest.raises(ArgumentError, match=message):
        run_reference(build(), xs)


def test_states_that_do_not_fit_are_refused():
    _, states = run_reference(language_model(), np.array([[1, 2]]))
    with pytest.raises(ArgumentError, match="states must have the shapes"):
        run_reference(language_model(), np.array([1]), states)
