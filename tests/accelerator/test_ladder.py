import numpy as np
import pytest

from csbrnn.accelerator import compile_model, host_input, ladder
from csbrnn.accelerator.ladder import Climb, Deviation, Rung, climb, deviation
from csbrnn.compiler import lower
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


def test_with_gaps_cycles_are_not_compared():
    late = Rung("cxxrtl", 0, 150, 1.0)
    assert Climb(1, 5, 100, (late,), gaps=True).to_dict()["agrees"]
    assert not Climb(1, 5, 100, (Rung("cxxrtl", 1, 150, 1.0),), gaps=True).agrees
    compiled, xs = compiled_and_inputs("gru")
    assert climb(compiled, xs, [], input_gaps=0.5).gaps
    assert climb(compiled, xs, [], output_gaps=0.5).gaps
    assert not climb(compiled, xs, []).gaps


@pytest.mark.parametrize("gaps", [float("nan"), -0.1, 1.0])
@pytest.mark.parametrize("which", ["input_gaps", "output_gaps"])
def test_gaps_that_can_t_be_are_refused(which, gaps):
    compiled, xs = compiled_and_inputs("gru")
    with pytest.raises(ArgumentError, match=rf"gaps must lie in 0\.\.0\.99, not {gaps}"):
        climb(compiled, xs, [], **{which: gaps})


def test_the_deviation_from_float64_is_a_share_of_the_largest_output():
    assert Deviation(0.5, 0.1, 2.0, 0.25).within
    assert not Deviation(0.51, 0.1, 2.0, 0.25).within
    assert not Deviation(float("nan"), 0.1, 2.0, 0.25).within
    assert Deviation(0.0, 0.0, 0.0, 0.0).within
    rng = np.random.default_rng(0)
    program = lower(cell_model(rng, "lstm", hidden=6), fuse=False)
    compiled = compile_model(program, ARCH)
    xs = rng.normal(0, 1, (2, 5)).astype(np.float32)
    found = deviation(program, compiled, xs)
    assert found.within
    assert 0 < found.mean < found.largest < 0.01 < found.largest_output < 1
    with pytest.raises(ArgumentError, match="must be 0 or more, not nan"):
        deviation(program, compiled, xs, float("nan"))


def test_unknown_simulators_are_refused():
    compiled, xs = compiled_and_inputs("gru")
    with pytest.raises(
        ArgumentError, match="must be one of amaranth, cxxrtl, verilator, cocotb, not 'x'"
    ):
        climb(compiled, xs, ["x"])


def test_no_steps_are_no_run():
    rng = np.random.default_rng(0)
    program = lower(cell_model(rng, "lstm", hidden=6), fuse=False)
    compiled = compile_model(program, ARCH)
    with pytest.raises(ArgumentError, match="a run must have at least one step"):
        climb(compiled, np.zeros((0, 5), np.int64), [])
    with pytest.raises(ArgumentError, match="a run must have at least one step"):
        deviation(program, compiled, np.zeros((0, 5), np.float32))


def test_cocotb_needs_a_simulator_to_drive(monkeypatch):
    tools = {"yosys", "cocotb"}
    monkeypatch.setattr(ladder, "has_tool", lambda name: name in tools)
    assert "cocotb" not in ladder.available_simulators()
    tools.add("iverilog")
    assert "cocotb" in ladder.available_simulators()
