"""`to_onnx` against the reference, through ONNX Runtime."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from csbrnn import cells
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import Features, PackedModel, run_reference
from csbrnn.nn import to_onnx

from .models import everything, random_recurrent

ort = pytest.importorskip("onnxruntime")

#: fp32 against float64 over a few dozen terms of size one: 1e-7 each.
CLOSE = {"rtol": 0.0, "atol": 5e-6}
CARRIED = ["lstm", "lstm_peephole", "gru", "gru_reset_before", "rnn_tanh", "rnn_relu"]


def session(proto):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])


def feed_states(states):
    return {f"{layer}.{s}": v for layer, of in states.items() for s, v in of.items()}


def zero_states(packed, batch):
    return {
        layer.name: {
            state: np.zeros((count, batch, length), np.float32)
            for state, (count, length) in layer.stack.state_shapes().items()
        }
        for layer in packed.layers
        if hasattr(layer, "stack")
    }


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("name", CARRIED)
def test_each_cell(name, layers, bidirectional):
    rng = np.random.default_rng(0)
    cell = cells.CELLS[name]
    layer = random_recurrent(rng, cell, num_layers=layers, bidirectional=bidirectional)
    packed = PackedModel((layer,), Features(3), "rnn")
    run = session(to_onnx(packed))
    for seq_len, batch in ((5, 2), (1, 1)):
        xs = rng.standard_normal((seq_len, batch, 3)).astype(np.float32)
        states = zero_states(packed, batch)
        for of in states.values():
            for value in of.values():
                value[:] = rng.standard_normal(value.shape)
        y, *after = run.run(None, {"input": xs, **feed_states(states)})
        expected, expected_after = run_reference(packed, xs, states)
        np.testing.assert_allclose(y, expected, **CLOSE)
        names = [output.name for output in run.get_outputs()][1:]
        assert names == [f"rnn.{state}.next" for state in cell.states]
        for ours, theirs in zip(after, expected_after["rnn"].values(), strict=True):
            np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.parametrize("missing", [("bias_ih_l0",), ("bias_ih_l0", "bias_hh_l0")])
def test_missing_bias(missing):
    rng = np.random.default_rng(0)
    layer = random_recurrent(rng, cells.GRU)
    kept = {n: p for n, p in layer.parameters.items() if n not in missing}
    layer = type(layer)(layer.name, layer.inputs, layer.stack, kept)
    packed = PackedModel((layer,), Features(3), "rnn")
    xs = rng.standard_normal((5, 1, 3)).astype(np.float32)
    feeds = {"input": xs, **feed_states(zero_states(packed, 1))}
    y, *_ = session(to_onnx(packed)).run(None, feeds)
    np.testing.assert_allclose(y, run_reference(packed, xs)[0], **CLOSE)


def test_every_layer(tmp_path):
    packed = everything(np.random.default_rng(1))
    path = tmp_path / "model.onnx"
    to_onnx(packed, path)
    run = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    tokens = np.random.default_rng(0).integers(0, 6, (5, 2))
    feeds = {"input": tokens, **feed_states(zero_states(packed, 2))}
    y, *_ = run.run(None, feeds)
    np.testing.assert_allclose(y, run_reference(packed, tokens)[0], **CLOSE)


def test_cells_that_onnx_lacks():
    rng = np.random.default_rng(0)
    layers = (
        random_recurrent(rng, cells.LIGRU, name="a"),
        random_recurrent(rng, cells.LSTM_PROJECTION, name="b", inputs=("a",), input_size=4),
    )
    with pytest.raises(UnsupportedModelError) as caught:
        to_onnx(PackedModel(layers, Features(3), "b"))
    assert [reason[:60] for reason in caught.value.reasons] == [
        "layer a: ONNX has no operator for the cell 'ligru'; it has g",
        "layer b: ONNX has no operator for the cell 'lstm_projection'",
    ]


def test_without_torch_and_without_onnx():
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
import csbrnn.nn
from csbrnn.errors import MissingDependencyError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel
layer = Linear("fc", ("input",), DenseMatrix(np.ones((2, 3), np.float32)))
model = PackedModel((layer,), Features(3), "fc")
assert csbrnn.nn.to_onnx(model).graph.node
try:
    csbrnn.nn.pack
except MissingDependencyError as error:
    assert "csbrnn.nn.pack needs torch" in str(error)
else:
    raise AssertionError
sys.modules["onnx"] = None
try:
    csbrnn.nn.to_onnx(model)
except MissingDependencyError as error:
    assert "pip install 'csbrnn[onnx]'" in str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True)
