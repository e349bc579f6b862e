import builtins
import shutil
import sys

import pytest

torch = pytest.importorskip("torch")

from csbrnn import cells  # noqa: E402
from csbrnn.bench import Case, UnavailableError, run_bench  # noqa: E402
from csbrnn.bench.contender_pytorch import PYTORCH, PYTORCH_COMPILED, PyTorch  # noqa: E402
from csbrnn.model import quantize  # noqa: E402

from .fakes import tiny_case, token_case  # noqa: E402


def variants(result):
    return [row.variant for row in result.rows if row.mode == "step"]


@pytest.mark.parametrize("case", [tiny_case(num_layers=2, pruned=True), token_case()])
def test_lstm_runs_in_every_variant(case):
    result = run_bench([case], (1,), ["pytorch"], 0.05, modes=("step", "sequence"))

    assert not result.skipped
    assert variants(result) == [contender.variant for contender in PYTORCH]
    assert sum(row.mode == "sequence" for row in result.rows) == 3  # modules only
    quantized = {row.variant: row.max_abs_error for row in result.rows if row.precision == "int8"}
    assert quantized.keys() == {"nn module, quantized", "nn cell, quantized"}
    assert min(quantized.values()) > 1e-4


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize(
    "cell", [cells.GRU, cells.RNN_TANH, cells.RNN_RELU, cells.LSTM_PROJECTION, cells.LIGRU]
)
def test_other_cells_run_or_are_skipped_with_the_reason(cell):
    result = run_bench([tiny_case(cell)], (1,), ["pytorch"], 0.05, modes=("step",))

    assert "nn module" in variants(result)
    reasons = {skipped.variant: skipped.reason for skipped in result.skipped}
    assert reasons["fused product"] == f"written out for cell 'lstm' only, not {cell.name!r}"
    assert ("nn cell" in reasons) == (cell in (cells.LSTM_PROJECTION, cells.LIGRU))
    assert ("nn cell, quantized" in reasons) == ("nn cell" in reasons)
    assert len(result.rows) + len(result.skipped) == len(PYTORCH)


def test_what_stays_fp32_is_not_called_int8():
    contender = PyTorch("quantized", "module", precision="int8")

    with (
        pytest.raises(UnavailableError, match=r"left fp32: rnn \(Recurrent\)"),
        contender.open(tiny_case(cells.LIGRU), 1),
    ):
        pass


def test_process_wide_settings_are_restored():
    before = torch.get_num_threads()
    contender = PyTorch("off", "module", onednn=False)
    with contender.open(tiny_case(), before + 1) as prepared:
        assert torch.get_num_threads() == before + 1
        with prepared.active():
            assert not torch.backends.mkldnn.enabled
            assert torch.is_inference_mode_enabled()
        assert torch.backends.mkldnn.enabled
    assert torch.get_num_threads() == before


def test_settings_are_restored_after_an_error():
    before = torch.get_num_threads()
    with (
        pytest.raises(UnavailableError),
        PyTorch("fused", "product").open(tiny_case(cells.GRU), before + 1),
    ):
        pass
    assert torch.get_num_threads() == before


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    result = run_bench([tiny_case()], (1,), ["pytorch"], 0.01)

    assert {skipped.reason for skipped in result.skipped} == {
        "torch is not installed: pip install 'csbrnn[bench]'"
    }


def test_quantization_gone(monkeypatch):
    imported = builtins.__import__

    def without(name, *args):
        if name == "torch.ao.quantization":
            raise ImportError("removed")
        return imported(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        pytest.raises(UnavailableError, match="has no dynamic quantization: removed"),
        PyTorch("quantized", "module", precision="int8").open(tiny_case(), 1),
    ):
        pass


def test_compiling_needs_a_compiler(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    (compiled,) = PYTORCH_COMPILED

    with pytest.raises(UnavailableError, match=r"needs a C\+\+ compiler"):
        compiled.open(tiny_case(), 1).__enter__()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # torch.compile's own
def test_compiled_steps_are_right():
    result = run_bench([tiny_case(cells.GRU)], (1,), ["pytorch-compiled"], 0.05, modes=("step",))

    assert not result.skipped
    assert variants(result) == ["nn cell, compiled"]


def test_peers_of_a_model_in_int8_run_what_its_weights_stand_for():
    """Its own definition quantizes operands as well, which peers in fp32 do not."""
    case = Case("int8", quantize(tiny_case(num_layers=2).model, "int8"))
    result = run_bench([case], (1,), PYTORCH[:1], 0.05, modes=("step",))
    assert not result.skipped
    assert result.rows[0].max_abs_error < 1e-5
