import numpy as np
import pytest

from csbrnn.cells import GRU, LSTM, LSTM_PROJECTION, Cell, Parameter, Stack, run_stack
from csbrnn.errors import ArgumentError


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        (GRU, {"input_size": 0}, "input_size must be a positive integer, got 0"),
        (GRU, {"hidden_size": 2.0}, "hidden_size must be a positive integer, got 2.0"),
        (GRU, {"num_layers": True}, "num_layers must be a positive integer, got True"),
        (GRU, {"bidirectional": 1}, "stack of 'gru': bidirectional must be true or false"),
        (GRU, {"proj_size": 2}, "proj_size must be 0 for this cell, got 2"),
        (LSTM_PROJECTION, {}, "proj_size must be positive for this cell, got 0"),
        (LSTM_PROJECTION, {"proj_size": "3"}, "proj_size must be positive"),
    ],
)
def test_errors(cell, options, message):
    with pytest.raises(ArgumentError) as error:
        Stack(cell, **({"input_size": 3, "hidden_size": 4} | options))
    assert message in str(error.value)


def test_shapes_of_a_bidirectional_projected_stack():
    stack = Stack(LSTM_PROJECTION, 3, 5, 2, num_layers=2, bidirectional=True)
    assert (stack.direction_size, stack.output_size, stack.num_directions) == (2, 4, 2)
    shapes = stack.parameter_shapes()
    assert shapes["weight_ih_l0_reverse"] == (20, 3)
    assert shapes["weight_ih_l1"] == (20, 4)
    assert shapes["weight_hh_l1_reverse"] == (20, 2)
    assert shapes["weight_hr_l1"] == (2, 5)
    assert stack.state_shapes() == {"h": (4, 2), "c": (4, 5)}
    assert [d.suffix for d in stack.directions()] == ["_l0", "_l0_reverse", "_l1", "_l1_reverse"]


def test_empty_sequences_leave_the_states():
    stack = Stack(LSTM, 3, 4)
    parameters = {n: np.ones(s) for n, s in stack.parameter_shapes().items()}
    start = {"h": np.ones((1, 4)), "c": np.ones((1, 4))}
    ys, states = run_stack(stack, parameters, np.zeros((0, 3)), start)
    assert ys.shape == (0, 4)
    np.testing.assert_array_equal(states["c"], start["c"])


def test_missing_vectors_are_zero_wherever_they_stand():
    cell = Cell(
        "test",
        {"h": "hidden", "c": "hidden"},
        (Parameter("weight", ("W",), "hidden", "hidden"), Parameter("bias", ("b",), "hidden")),
        "h_next = W @ b + sigmoid(b)\nc_next = b",
    )
    stack = Stack(cell, 3, 4)
    ys, states = run_stack(stack, {"weight_l0": np.ones((4, 4))}, np.zeros((2, 5, 3)))
    np.testing.assert_array_equal(ys, np.full((2, 5, 4), 0.5))
    np.testing.assert_array_equal(states["c"], np.zeros((1, 5, 4)))


def test_a_missing_matrix_is_an_error():
    with pytest.raises(KeyError, match="weight_ih_l0"):
        run_stack(Stack(GRU, 3, 4), {}, np.zeros((2, 3)))


def test_precision_is_that_of_the_input():
    stack = Stack(GRU, 3, 4)
    parameters = {n: np.ones(s, np.float32) for n, s in stack.parameter_shapes().items()}
    ys, states = run_stack(stack, parameters, np.zeros((2, 3), np.float32))
    assert ys.dtype == states["h"].dtype == np.float32
