import json

import pytest

pytest.importorskip("torch")

import torch

from csbrnn.errors import RecipeError
from csbrnn.model import load
from csbrnn.runtime import compile as compile_model
from csbrnn.search.recipe import read_recipe
from csbrnn.search.task_search import PACKED, search_task
from csbrnn.tasks.protocol import TrainingProtocol

from .recipes import recipe


def test_a_search_on_a_task(tmp_path):
    read = read_recipe(recipe(tmp_path, search={"trials": 2}))
    shares = []
    result = search_task(
        read, tmp_path / "out", progress=lambda what, share: shares.append((what, share))
    )
    assert result.metric == "bits per character"
    assert len(result.trials) == 2
    assert {what for what, share in shares if share == 1} >= {
        "start, seed 0",
        "dense, seed 1",
        "2x, seed 0",
    }
    # The packed model is the network that was measured.
    rate = result.trials[0].pruning_rate
    packed = load(tmp_path / "out" / "runs" / f"{rate:g}x-seed1" / PACKED)
    assert packed.pruning_rate >= rate
    score = read.protocol.task.evaluate_engine(compile_model(packed))
    assert score.value == pytest.approx(result.trials[0].metrics[1], abs=1e-4)
    # No checkpoint is left: results are in the log.
    assert not list((tmp_path / "out" / "runs").glob("*/checkpoint.pt"))


def test_a_first_rate_that_can_not_be_had_is_refused_before_anything_is_trained(tmp_path):
    read = read_recipe(recipe(tmp_path, search={"first_rate": 1e6, "max_rate": 2e6}))
    with pytest.raises(RecipeError, match="would leave nothing"):
        search_task(read, tmp_path / "out")
    assert not (tmp_path / "out").exists()


class KilledError(BaseException):
    pass


def rows(out):
    lines = (out / "log.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


@pytest.fixture(scope="module", params=[False, True], ids=["cold", "warm"])
def whole(request, tmp_path_factory):
    """A recipe, and the log of a search that nothing interrupted: 24 steps each of four runs."""
    place = tmp_path_factory.mktemp("whole")
    changes = {"trials": 2, "seeds": [0], "warm_start": request.param}
    read = read_recipe(recipe(place, search=changes))
    search_task(read, place / "out")
    return read, rows(place / "out")


@pytest.mark.parametrize("killed_at", [10, 40, 60, 85])
def test_killed_in_a_training_step_it_comes_to_the_same_log(
    tmp_path, monkeypatch, whole, killed_at
):
    read, expected = whole
    monkeypatch.setattr("csbrnn.tasks.training._CHECKPOINT_EVERY_S", 0.0)
    steps = 0

    def kill(what, share):
        nonlocal steps
        steps += 1
        if steps == killed_at:
            raise KilledError

    with pytest.raises(KilledError):
        search_task(read, tmp_path, progress=kill)
    search_task(read, tmp_path)
    assert rows(tmp_path) == expected


def test_a_network_that_diverges_fails_its_rate(tmp_path, monkeypatch):
    read = read_recipe(recipe(tmp_path, search={"trials": 1, "seeds": [0]}))
    fine_tune = TrainingProtocol.fine_tune

    def diverge(self, network, seed, start, directory, recipe=None, teacher=None, watch=None):
        def poison(model, done, loss):
            if recipe is not None and done == 10:
                with torch.no_grad():
                    next(model.parameters()).fill_(float("nan"))

        return fine_tune(self, network, seed, start, directory, recipe, teacher, poison)

    monkeypatch.setattr(TrainingProtocol, "fine_tune", diverge)
    result = search_task(read, tmp_path / "out")
    assert not result.trials[0].verdict.holds
    assert result.pruning_rate is None
