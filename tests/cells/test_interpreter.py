import numpy as np
import pytest

from csbrnn.cells import CELLS, GRU, LIGRU, LSTM_PEEPHOLE, NUMPY_OPERATIONS, cell_step, split_parts
from csbrnn.cells.equations import BINARY, UNARY


def step(cell, x, states, **parameters):
    """One step of a cell of sizes 1 whose parameters are all zero but for those given."""
    zeros = {
        p.name: np.zeros(p.shape({"input": 1, "hidden": 1, "proj": 1})) for p in cell.parameters
    }
    for name, value in parameters.items():
        zeros[name] = np.array(value, float).reshape(zeros[name].shape)
    values = {s: np.array([v], float) for s, v in states.items()}
    after = cell_step(cell, split_parts(cell, zeros), np.array([x], float), values)
    return {s: float(v[0]) for s, v in after.items()}


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def test_every_operation_has_a_definition():
    assert set(NUMPY_OPERATIONS) == {*UNARY, *BINARY, "product"}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sigmoid_of_anything(dtype):
    with np.errstate(all="raise", under="ignore"):
        got = NUMPY_OPERATIONS["sigmoid"](np.array([-1e30, -1, 0, 1, 1e30], dtype))
    assert got.dtype == dtype
    np.testing.assert_allclose(got, [0, sigmoid(-1), 0.5, sigmoid(1), 1], rtol=1e-6)


def test_peepholes_by_hand():
    # All matrices zero: i = s(c), f = s(2c), g = tanh(1); o sees the new cell.
    after = step(LSTM_PEEPHOLE, 0, {"h": 3, "c": 0.5}, weight_c=[1, 2, 3], bias_ih=[0, 0, 1, 0])
    c = sigmoid(1.0) * 0.5 + sigmoid(0.5) * np.tanh(1)
    assert after["c"] == pytest.approx(c, rel=1e-14)
    assert after["h"] == pytest.approx(sigmoid(3 * c) * np.tanh(c), rel=1e-14)


def test_light_gru_by_hand():
    after = step(LIGRU, 2, {"h": 0.5}, weight_ih=[0.25, -1], weight_hh=[0.5, 6], bias_ih=[1, 2])
    z = sigmoid(0.25 * 2 + 1 + 0.5 * 0.5)
    n = -1 * 2 + 2 + 6 * 0.5
    assert after["h"] == pytest.approx((1 - z) * n + z * 0.5, rel=1e-14)


def test_where_the_reset_gate_stands():
    parameters = {"weight_hh": [0, 0, 2], "bias_hh": [0, 0, 1]}
    after = step(GRU, 0, {"h": 0.5}, **parameters)
    assert after["h"] == pytest.approx(0.5 * np.tanh(0.5 * (2 * 0.5 + 1)) + 0.25, rel=1e-14)
    before = step(CELLS["gru_reset_before"], 0, {"h": 0.5}, **parameters)
    assert before["h"] == pytest.approx(0.5 * np.tanh(2 * (0.5 * 0.5) + 1) + 0.25, rel=1e-14)


def test_known_products_are_taken():
    parts = split_parts(GRU, {"weight_ih": np.ones((3, 1)), "weight_hh": np.ones((3, 1))})
    known = {f"W_i{g}": np.array([0.0]) for g in "rzn"}
    x, states = np.array([5.0]), {"h": np.array([0.0])}
    after = cell_step(GRU, parts, x, states, products=known)
    assert after["h"] == 0


def test_missing_matrices_are_an_error():
    with pytest.raises(KeyError, match="weight_ih"):
        split_parts(GRU, {})
