import sys

import pytest

pytest.importorskip("openvino")
pytest.importorskip("onnx")

from csbrnn import cells
from csbrnn.bench import UnavailableError, run_bench
from csbrnn.bench.contender_openvino import OPENVINO

from .fakes import tiny_case, token_case

FP32, BF16 = OPENVINO


@pytest.mark.parametrize(
    "case", [tiny_case(num_layers=2, pruned=True), tiny_case(cells.GRU, num_layers=2), token_case()]
)
def test_steps_and_sequences(case):
    result = run_bench([case], (1,), ["openvino"], 0.05, modes=("step", "sequence"))

    assert {(row.precision, row.mode) for row in result.rows} >= {
        ("fp32", "step"),
        ("fp32", "sequence"),
    }
    assert result.best("openvino", "fp32").max_abs_error < 1e-5
    half = result.best("openvino", "bf16")
    if half is None:
        assert {s.reason for s in result.skipped} == {"this CPU has no instructions for bf16"}
    else:
        assert half.max_abs_error > 1e-5
        assert half.nbytes < result.best("openvino", "fp32").nbytes


def test_reset_sets_states_to_zero():
    case = tiny_case()
    with FP32.open(case, 1) as prepared:
        prepared.set_input(case.inputs(1)[0])
        outputs = []
        for _ in range(2):
            prepared.step()
            outputs.append(prepared.output())
        assert (outputs[0] != outputs[1]).any()
        prepared.reset()
        prepared.step()
        assert (prepared.output() == outputs[0]).all()


def test_cells_without_an_operator_are_skipped():
    with (
        pytest.raises(UnavailableError, match="ONNX has no operator for the cell 'ligru'"),
        FP32.open(tiny_case(cells.LIGRU), 1),
    ):
        pass


@pytest.mark.parametrize("package", ["openvino", "onnx"])
def test_not_installed(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(UnavailableError, match=f"^{package} is not installed: pip install"),
        FP32.open(tiny_case(), 1),
    ):
        pass
