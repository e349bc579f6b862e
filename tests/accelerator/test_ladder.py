import numpy as np
import pytest

from csbrnn.accelerator import compile_model, host_input
from csbrnn.accelerator.ladder import Climb, Rung, climb
from csbrnn.errors import ArgumentError

from .models import ARCH, cell_model


def compiled_and_inputs(cell):
    rng = np.random.default_rng(0)
    compiled = compile_model(cell_model(rng, cell, hidden=6), ARCH)
    return compiled, host_input(compiled.step, rng.normal(0, 1, (2, 5)).astype(np.float32))


def test_the_functional_simulator_is_the_first_rung():
    compiled, xs = compiled_and_inputs("lstm")
    found = climb(compiled, xs, [])
    assert found.agrees
    assert [rung.name for rung in found.rungs] == ["functional"]
    assert found.to_dict()["rtl_cycles"] is None


def test_a_wrong_bit_or_cycle_is_no_agreement():
    good = Rung("cxxrtl", 0, 100, 1.0)
    assert Climb(1, 5, 100, (good,)).agrees
    assert not Climb(1, 5, 99, (good,)).agrees
    assert not Climb(1, 5, 100, (good, Rung("amaranth", 1, 100, 1.0))).agrees


def test_unknown_simulators_are_refused():
    compiled, xs = compiled_and_inputs("gru")
    with pytest.raises(
        ArgumentError, match="must be one of amaranth, cxxrtl, verilator, cocotb, not 'x'"
    ):
        climb(compiled, xs, ["x"])
