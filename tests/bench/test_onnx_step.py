import numpy as np
import pytest

pytest.importorskip("onnx")

from onnx.reference import ReferenceEvaluator

from csbrnn import cells
from csbrnn.bench import UnavailableError
from csbrnn.bench.onnx_step import onnx_model
from csbrnn.model import run_reference

from .fakes import tiny_case, token_case


def names(entries):
    return [entry.name for entry in entries]


def test_each_layer_has_a_state_of_its_own():
    graph = onnx_model(tiny_case(num_layers=2)).graph

    states = ["rnn.h.0", "rnn.h.1", "rnn.c.0", "rnn.c.1"]
    assert names(graph.input) == ["input", *states]
    assert names(graph.output) == ["output", *(f"{state}.next" for state in states)]
    assert not {"Split", "Concat"} & {node.op_type for node in graph.node}


@pytest.mark.parametrize("step_graph", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("cell", [cells.LSTM, cells.GRU])
def test_it_computes_the_network(cell, layers, step_graph):
    case = tiny_case(cell, num_layers=layers, pruned=True)
    check(case, onnx_model(case, step_graph=step_graph))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("step_graph", [False, True])
def test_other_layers_stay(step_graph):
    case = token_case()
    check(case, onnx_model(case, step_graph=step_graph))


def test_a_step_graph_has_products_only():
    graph = onnx_model(tiny_case(cells.GRU), step_graph=True).graph

    assert "GRU" not in {node.op_type for node in graph.node}
    used = {name for node in graph.node for name in node.input}
    assert {entry.name for entry in graph.initializer} <= used


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (cells.RNN_TANH, "Elman RNN or peephole LSTM is not written out"),
        (cells.LSTM_PEEPHOLE, "Elman RNN or peephole LSTM is not written out"),
        (cells.GRU_RESET_BEFORE, "resets before the product is not written out"),
        (cells.LIGRU, "ONNX has no operator"),
    ],
)
def test_cells_that_are_not_written_out(cell, reason):
    with pytest.raises(UnavailableError, match=reason):
        onnx_model(tiny_case(cell), step_graph=True)


def check(case, model):
    session = ReferenceEvaluator(model)
    xs = case.inputs(4)
    expected, _ = run_reference(case.model, xs)
    states = {
        entry.name: np.zeros(
            [axis.dim_value or 1 for axis in entry.type.tensor_type.shape.dim], np.float32
        )
        for entry in list(model.graph.input)[1:]
    }
    for x, y in zip(xs, expected, strict=True):
        value = np.asarray(x, np.int64 if x.ndim == 0 else np.float32)[None, None]
        got, *after = session.run(None, {"input": value, **states})
        np.testing.assert_allclose(got.reshape(-1), y, atol=1e-5)  # fp32 sums of 24 products
        states = dict(zip(states, after, strict=True))
