"""The laboratory itself, on a task that takes seconds."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from csbrnn.explore.space import Configuration
from csbrnn.explore.trial import CHECKS, PACKED, Laboratory
from csbrnn.model import load
from csbrnn.runtime import compile as compile_model

from .models import recipe

CSB = "csb(block=4x4,row_group=1)"


@pytest.fixture
def read(tmp_path):
    return recipe(tmp_path)


def test_what_is_measured_is_what_is_stored(tmp_path, read):
    laboratory = Laboratory(read, tmp_path / "out")
    made = Configuration("gru", 12, 2, CSB, 4.0, "int8")
    outcome = laboratory.run(made)
    assert outcome.complete, outcome.reason
    packed = load(laboratory.place(made) / PACKED)
    assert packed.precision == "int8"
    assert packed.nbytes == outcome.cost.nbytes
    assert 3.5 < packed.pruning_rate < 5
    assert 0 < outcome.cost.step_us < 1e4
    assert outcome.cost.machine
    engine = compile_model(packed)
    assert read.protocol.task.evaluate_engine(engine).value == outcome.metric
    # Another worker's retry on the same directory has nothing left to train.
    steps = []
    again = Laboratory(read, tmp_path / "out", lambda what, share: steps.append(what)).run(made)
    assert steps == []
    assert again.metric == outcome.metric


def test_looks_come_after_the_support_is_final_and_may_end_it(tmp_path, read):
    seen = []

    def check(step, metric):
        seen.append((step, metric))
        return len(seen) == 3

    laboratory = Laboratory(read, tmp_path / "out")
    made = Configuration("lstm", 8, 1, CSB, 2.0, "fp32")
    outcome = laboratory.run(made, check)
    assert (outcome.ended, outcome.complete) == ("accuracy", False)
    assert "bits per character" in outcome.reason
    assert f"after {seen[-1][0]} steps" in outcome.reason
    assert all(8 < step < 16 for step, _ in seen)
    assert not list(laboratory.place(made).glob("checkpoint*"))
    seen.clear()
    assert laboratory.run(made, lambda step, metric: seen.append(step)).complete
    assert len(seen) == CHECKS


def test_what_is_too_costly_is_not_trained(tmp_path):
    read = recipe(tmp_path, bound={"loss": 0.3, "nbytes": 3000})
    steps = []
    laboratory = Laboratory(read, tmp_path / "out", lambda what, share: steps.append(what))
    large = Configuration("lstm", 16, 1, CSB, 2.0, "fp32")
    outcome = laboratory.run(large)
    assert (outcome.ended, steps) == ("cost", [])
    assert outcome.reason.startswith("nbytes ")
    assert laboratory.run(large, bounded=False).complete  # as stages do
    # An untrained network tells the size of the trained one.
    assert laboratory.untrained_cost(large).nbytes == pytest.approx(
        laboratory.run(large, bounded=False).cost.nbytes, rel=0.1
    )


def test_what_does_not_fit_is_refused_with_its_reason(tmp_path, read):
    # Twelve rows a gate can't be cut into circulant blocks of 5: whatever the pattern says of it.
    made = Configuration("lstm", 12, 1, "n_m(n=0,m=4)", 2.0, "fp32")
    outcome = Laboratory(read, tmp_path / "out").run(made)
    assert outcome.ended == "refused"
    assert "n" in outcome.reason


def test_a_precision_without_kernels_is_measured_as_stored(tmp_path, read):
    made = Configuration("gru", 8, 1, CSB, 2.0, "fixed16")
    outcome = Laboratory(read, tmp_path / "out").run(made, bounded=False)
    assert outcome.complete, outcome.reason
    assert outcome.cost.step_us is None
    assert outcome.cost.nbytes > 0
    # Where its time is an objective, it is not even trained.
    refused = Laboratory(read, tmp_path / "out").run(made)
    assert (refused.ended, refused.reason) == (
        "refused",
        "step_us: the engine has no kernels for fixed16",
    )


def test_cycles_of_an_accelerator(tmp_path):
    read = recipe(tmp_path, explore={"arch": "pe64", "objectives": ["metric", "cycles"]})
    laboratory = Laboratory(read, tmp_path / "out")

    def configuration(size, rate):
        return Configuration("lstm", size, 1, CSB, rate, "fixed16")

    slow, quick = (laboratory.untrained_cost(configuration(48, rate)) for rate in (1.0, 8.0))
    assert slow.cycles > quick.cycles > 0


def test_what_an_accelerator_has_no_memory_for_is_refused(tmp_path):
    read = recipe(tmp_path, explore={"arch": "pe16", "objectives": ["metric", "cycles"]})
    steps = []
    laboratory = Laboratory(read, tmp_path / "out", lambda what, share: steps.append(what))
    refused = laboratory.run(Configuration("lstm", 160, 1, CSB, 1.0, "fixed16"))
    assert (refused.ended, steps) == ("refused", [])
    assert "cycles: " in refused.reason
