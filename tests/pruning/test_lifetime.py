"""What is said when a model goes out of use, and that it can go."""

import subprocess
import sys

import pytest
import torch

from csbrnn.errors import ScheduleWarning
from csbrnn.pruning import Distillation, Gradual, OneShot, prune_
from csbrnn.pruning.lifetime import pruners

from .models import Tagger, recipe, train


@pytest.fixture(autouse=True)
def _quiet_farewells():
    """Here they are what is tested."""


@pytest.mark.parametrize(("steps", "message"), [(0, "never began"), (2, "has not ended")])
def test_leaving_a_schedule_unfinished_is_told(steps, message):
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 100)))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), pruner, steps)
    del pruner
    with pytest.warns(ScheduleWarning, match=f"after step {steps} of 100 .*{message}"):
        del model


@pytest.mark.parametrize("end", ["complete", "detached"])
def test_an_end_that_was_meant_is_quiet_and_frees_the_model_at_once(end):
    model = Tagger()
    method = OneShot() if end == "complete" else Gradual(0, 100)
    pruner = prune_(model, recipe(method, distill=Distillation()))
    before = len(pruners)
    if end == "detached":
        pruner.detach()
    del model, pruner
    assert len(pruners) == before - 1


def test_leaving_python_with_an_unfinished_schedule_is_told():
    program = (
        "import torch, csbrnn.pruning as p\n"
        "model = torch.nn.LSTM(4, 4)\n"
        "pruner = p.prune_(model, p.Recipe('csb', 0.5, p.Gradual(0, 100)))\n"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "ScheduleWarning: a model goes out of use after step 0 of 100" in ended.stderr
