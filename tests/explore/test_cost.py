import pytest

from csbrnn.bench import UnavailableError
from csbrnn.bench.contender_csbrnn import Csbrnn
from csbrnn.explore.cost import measure
from csbrnn.model import quantize


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_step_is_timed(feature_model, precision):
    model = quantize(feature_model, precision)
    cost = measure(model, seconds=0.05)
    assert 0 < cost.step_us < 1e4
    assert cost.nbytes == model.nbytes
    assert (cost.cycles, cost.note) == (None, "")
    assert cost.machine


def test_what_nothing_runs_has_a_note(feature_model):
    cost = measure(quantize(feature_model, "fixed12"), seconds=0.05)
    assert cost.step_us is None
    assert cost.note == "step_us: the engine has no kernels for fixed12"


def test_a_wrong_network_is_not_timed(feature_model, monkeypatch):
    monkeypatch.setattr(Csbrnn, "tolerance", 0.0)
    with pytest.raises(UnavailableError, match="wrong results"):
        measure(feature_model, seconds=0.05)
