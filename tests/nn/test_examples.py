"""The examples run, and what they claim holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from csbrnn import cells
from csbrnn.compiler import lower, run_program
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import quantize
from csbrnn.nn import Recurrent, pack

EXAMPLES = Path(__file__).parents[2] / "examples"

torch.set_num_threads(1)


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_custom_cell(capsys):
    error, mse = load("custom_cell").main(steps=240)
    # fp32 against float64, a state carried over 100 steps.
    assert error < 1e-5
    assert mse < 0.2  # the variance of what is held is 1/3
    assert "agree to" in capsys.readouterr().out


def test_custom_target(capsys):
    assert load("custom_target").main() < 1e-6
    assert "agree to" in capsys.readouterr().out


@pytest.mark.parametrize("name", cells.CELLS)
def test_custom_target_runs_every_cell(name):
    cell = cells.CELLS[name]
    torch.manual_seed(1)
    proj_size = 3 if "proj" in cell.dimensions else 0
    packed = pack(Recurrent(cell, 4, 5, num_layers=2, proj_size=proj_size))
    program = lower(packed, fuse=False)
    written = {}
    exec(load("custom_target").emit(program), written)
    xs = np.random.default_rng(2).normal(size=(6, 4)).astype(np.float32)
    ys = [written["step"](x.tolist()) for x in xs]
    np.testing.assert_allclose(ys, run_program(program, xs)[0], atol=1e-12)


def test_custom_target_refuses_what_it_would_get_wrong():
    packed = quantize(pack(Recurrent(cells.LSTM, 4, 5, bidirectional=True)), "int8")
    with pytest.raises(UnsupportedModelError) as caught:
        load("custom_target").emit(lower(packed))
    assert [reason.split(":")[0][-12:] for reason in caught.value.reasons][-1] == "step by step"
    assert all("int8" in reason for reason in caught.value.reasons[:-1])
