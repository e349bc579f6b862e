import numpy as np
import pytest

from csbrnn.cells import (
    CELLS,
    GRU,
    LSTM,
    LSTM_PROJECTION,
    Cell,
    Parameter,
    gated_parameters,
)
from csbrnn.compiler import GRUGates, LSTMGates, lower

from .models import assert_lowered_right, single

FUSED = {"lstm": LSTMGates, "lstm_projection": LSTMGates, "gru": GRUGates}


def fast_paths(cell):
    rng = np.random.default_rng(0)
    program = assert_lowered_right(single(rng, cell), rng)
    return [type(i) for i in program.passes[0].instructions if isinstance(i, LSTMGates | GRUGates)]


def variant(cell, *replacements, gates="ifgo"):
    equations = cell.equations
    for old, new in replacements:
        assert old in equations
        equations = equations.replace(old, new)
    return Cell("variant", cell.states, gated_parameters(gates), equations)


@pytest.mark.parametrize("name", CELLS)
def test_exactly_lstm_and_gru_are_recognised(name):
    assert fast_paths(CELLS[name]) == ([FUSED[name]] if name in FUSED else [])


def test_lstm_of_other_names_is_recognised():
    cell = Cell(
        "mine",
        {"memory": "hidden", "out": "hidden"},
        (Parameter("A", ("Ai", "Af", "Ag", "Ao"), "hidden", "input"),),
        """
        new = sigmoid(Af @ x) * memory + tanh(Ag @ x) * sigmoid(Ai @ x)
        memory_next = new
        out_next = tanh(new) * sigmoid(Ao @ x)
        """,
        output="out",
    )
    assert fast_paths(cell) == [LSTMGates]


def test_other_gate_orders_are_left():
    assert fast_paths(variant(LSTM, gates="figo")) == []
    assert fast_paths(variant(GRU, gates="zrn")) == []


@pytest.mark.parametrize(
    "change",
    [
        ("tanh(c_next)", "tanh(c)"),
        ("tanh(c_next)", "c_next"),
        ("f * c + i * g", "f * c - i * g"),
        ("f * c + i * g", "f * h + i * g"),
        ("f * c + i * g", "i * c + f * g"),
        ("f * c + i * g", "f * c + i * g + 1"),
    ],
)
def test_near_lstms_are_left(change):
    assert fast_paths(variant(LSTM, change)) == []


@pytest.mark.parametrize(
    "change",
    [
        ("(1 - z) * n + z * h", "z * n + (1 - z) * h"),
        ("(1 - z)", "(2 - z)"),
        ("r * (W_hn @ h + b_hn)", "(W_hn @ h + b_hn)"),
        ("n = tanh", "n = relu"),
    ],
)
def test_near_grus_are_left(change):
    assert fast_paths(variant(GRU, change, gates="rzn")) == []


def test_gates_used_elsewhere_are_left():
    states = {**LSTM.states, "k": "hidden"}
    equations = LSTM.equations + "\n        k_next = i"
    assert fast_paths(Cell("leak", states, LSTM.parameters, equations)) == []


def test_a_gru_that_keeps_another_state_is_left():
    equations = GRU.equations.replace("z * h", "z * k") + "\n        k_next = h"
    cell = Cell("crossed", {"h": "hidden", "k": "hidden"}, GRU.parameters, equations)
    assert fast_paths(cell) == []


def test_projected_gates_write_scratch():
    program = lower(single(np.random.default_rng(0), LSTM_PROJECTION))
    (gates,) = [i for i in program.passes[0].instructions if isinstance(i, LSTMGates)]
    assert program.vectors[gates.hidden.vector].kind == "scratch"
    assert program.vectors[gates.cell.vector].kind == "state"
