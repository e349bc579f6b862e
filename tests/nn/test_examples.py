"""The examples run, and what they claim holds."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch

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
