"""The emitted Verilog under cocotb: right; noticed where it is wrong; stopped where it hangs."""

import dataclasses

import numpy as np
import pytest

from accelerator.models import cell_model
from csbrnn.accelerator import Arch, compile_model, host_input
from csbrnn.accelerator.ladder import available_simulators, climb
from csbrnn.accelerator.loading import stimulus_of
from csbrnn.accelerator.tools import has_tool
from csbrnn.errors import ArgumentError, HungError

if "cocotb" not in available_simulators():
    pytest.skip("needs Amaranth, Yosys and cocotb", allow_module_level=True)

from csbrnn.accelerator.rtl import cocotb
from csbrnn.accelerator.rtl.emit import emit_verilog

TINY = Arch(
    "tiny", groups=2, streams=1, lanes=1, x_write=1, words=128, strips=64, x=32, y=32, vector=64,
    program=64, segments=16,
)  # fmt: skip

needs_icarus = pytest.mark.skipif(not has_tool("iverilog"), reason="needs Icarus Verilog")


@pytest.fixture
def gru():
    rng = np.random.default_rng(0)
    compiled = compile_model(cell_model(rng, "gru", size=3, hidden=4), TINY)
    return compiled, host_input(compiled.step, rng.normal(0, 1, (2, 3)).astype(np.float32))


@pytest.mark.slow
@needs_icarus
def test_icarus_finds_the_same_outputs_and_cycles(gru):
    found = climb(*gru, ["cocotb"])
    assert found.agrees, found
    assert [rung.name for rung in found.rungs] == ["functional", "cocotb"]


@pytest.mark.slow
@pytest.mark.skipif(not has_tool("verilator"), reason="needs Verilator")
def test_verilator_finds_the_same_outputs_and_cycles(gru, monkeypatch):
    monkeypatch.setattr(cocotb, "has_tool", lambda name: False)  # no Icarus
    found = climb(*gru, ["cocotb"])
    assert found.agrees, found


@pytest.mark.slow
@needs_icarus
def test_a_wrong_sum_is_noticed(gru, monkeypatch):
    def wrong(arch):
        text = emit_verilog(arch)
        right, broken = (f"$signed(weight) {sign} $signed(x);" for sign in "*+")
        assert right in text
        return text.replace(right, broken)

    monkeypatch.setattr(cocotb, "emit_verilog", wrong)
    found = climb(*gru, ["cocotb"])
    assert not found.agrees
    assert found.rungs[-1].mismatches > 0


@pytest.mark.slow
@needs_icarus
def test_an_engine_that_does_not_stop_is_reported(gru):
    compiled, xs = gru
    starved = dataclasses.replace(stimulus_of(compiled.image, xs, limit=500), input_gaps=1.0)
    with pytest.raises(HungError, match="after 500 cycles it still runs"):
        cocotb.simulate_cocotb(compiled.arch, starved)


def test_other_simulators_are_refused(gru):
    with pytest.raises(ArgumentError, match="must be icarus or verilator, not 'spice'"):
        cocotb.simulate_cocotb(TINY, stimulus_of(gru[0].image, gru[1]), simulator="spice")
