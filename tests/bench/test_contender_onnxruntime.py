import sys

import pytest

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

from csbrnn import cells
from csbrnn.bench import UnavailableError, run_bench
from csbrnn.bench.contender_onnxruntime import ONNXRUNTIME, float_weights
from csbrnn.nn import to_onnx

from .fakes import tiny_case, token_case

FP32, INT8, STEP_FP32, STEP_INT8 = ONNXRUNTIME


@pytest.mark.parametrize("case", [tiny_case(num_layers=2, pruned=True), token_case()])
def test_lstm_runs_in_both_precisions(case):
    result = run_bench([case], (1,), [FP32, INT8], 0.05, modes=("step", "sequence"))

    assert not result.skipped
    assert [(row.precision, row.mode) for row in result.rows] == [
        (precision, mode) for precision in ("fp32", "int8") for mode in ("step", "sequence")
    ]
    # Rounding shows that weights are eight bits wide indeed.
    assert result.best("onnxruntime", "fp32").max_abs_error < 1e-5
    assert result.best("onnxruntime", "int8").max_abs_error > 1e-4


@pytest.mark.parametrize("cell", [cells.GRU, cells.RNN_TANH])
def test_a_gru_that_stays_fp32_is_not_called_int8(cell):
    result = run_bench([tiny_case(cell)], (1,), [FP32, INT8], 0.05, modes=("step",))

    assert [row.precision for row in result.rows] == ["fp32"]
    (skipped,) = result.skipped
    operator = {"gru": "GRU", "rnn_tanh": "RNN"}[cell.name]
    assert skipped.reason.startswith(f"quantize_dynamic left fp32 without a word: {operator}")


@pytest.mark.parametrize(
    "case",
    [tiny_case(num_layers=2, pruned=True), token_case(), tiny_case(cells.GRU, num_layers=2)],
)
def test_the_step_graph_is_quantized_whole(case):
    result = run_bench([case], (1,), [STEP_FP32, STEP_INT8], 0.05, modes=("step", "sequence"))

    assert not result.skipped
    assert [(row.precision, row.mode) for row in result.rows] == [
        ("fp32", "step"),
        ("int8", "step"),
    ]
    assert result.best("onnxruntime", "fp32").max_abs_error < 1e-5
    assert result.best("onnxruntime", "int8").max_abs_error > 1e-4


def test_cells_without_an_operator_are_skipped():
    result = run_bench([tiny_case(cells.LIGRU)], (1,), ["onnxruntime"], 0.05, modes=("step",))

    assert not result.rows
    assert all("ONNX has no operator for the cell 'ligru'" in s.reason for s in result.skipped)


def test_float_weights_are_found(tmp_path):
    path = tmp_path / "model.onnx"
    to_onnx(token_case().model, path)

    found = float_weights(path)
    assert [text.split()[0] for text in found] == ["LSTM", "LSTM", "MatMul"]


def test_steps_carry_the_state_both_ways():
    case = tiny_case()
    with FP32.open(case, 1) as prepared:
        prepared.set_input(case.inputs(1)[0])
        outputs = []
        for _ in range(3):
            prepared.step()
            outputs.append(prepared.output())
        assert (outputs[0] != outputs[1]).all()
        assert (outputs[1] != outputs[2]).all()
        prepared.reset()
        prepared.step()
        assert (prepared.output() == outputs[0]).all()


@pytest.mark.parametrize("package", ["onnxruntime", "onnx"])
def test_not_installed(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(UnavailableError, match=f"^{package} is not installed: pip install"),
        FP32.open(tiny_case(), 1),
    ):
        pass
