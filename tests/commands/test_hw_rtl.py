"""``csbrnn hw verify``, ``verilog`` and ``synth`` as a user meets them."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from accelerator.models import cell_model
from csbrnn import cli
from csbrnn.accelerator.ladder import Climb, Rung
from csbrnn.accelerator.tools import has_tool
from csbrnn.errors import ArgumentError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, save

pytest.importorskip("amaranth")

needs_yosys = pytest.mark.skipif(not has_tool("yosys"), reason="needs Yosys")

ARCH = """
name = "tiny"
[engine]
groups = 2
streams = 1
lanes = 1
x_write = 1
[memory]
words = 512
strips = 256
x = 64
y = 64
vector = 128
program = 64
queue = 3
[numbers]
segments = 16
max_shift = 3
"""


@pytest.fixture
def small(tmp_path):
    """A packed model and an arch file, as arguments."""
    save(cell_model(np.random.default_rng(0), "gru", size=3, hidden=4), tmp_path / "model")
    (tmp_path / "tiny.toml").write_text(ARCH)
    return [str(tmp_path / "model"), "--arch", str(tmp_path / "tiny.toml")]


def invoke(*args):
    return CliRunner().invoke(cli.app, [str(a) for a in args], catch_exceptions=False)


def test_verify_runs_the_rtl_and_writes_what_agrees(small, tmp_path):
    out = tmp_path / "out.json"
    done = invoke("hw", "verify", *small, "--steps", 2, "--simulator", "amaranth", "--json", out)
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert result["mismatches"] == 0
    assert result["rtl_cycles"] == result["model_cycles"] > 0
    assert result["simulators"] == ["amaranth"]
    assert [rung["name"] for rung in result["rungs"]] == ["functional", "amaranth"]
    assert "amaranth: 0 mismatches" in done.output


def test_verify_with_gaps_agrees_though_it_takes_longer(small, tmp_path):
    out = tmp_path / "out.json"
    asked = ("hw", "verify", *small, "--steps", 2, "--simulator", "amaranth", "--json", out)
    done = invoke(*asked, "--gaps", 0.9)
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert result["agrees"]
    assert result["rtl_cycles"] > result["model_cycles"]


@pytest.mark.parametrize(("mismatches", "cycles"), [(1, 100), (0, 101)])
def test_verify_fails_on_a_wrong_bit_or_cycle(small, monkeypatch, mismatches, cycles):
    found = Climb(2, 8, 100, (Rung("amaranth", mismatches, cycles, 0.1),))
    monkeypatch.setattr("csbrnn.commands.hw_verify.climb", lambda *args, **options: found)
    assert invoke("hw", "verify", *small, "--simulator", "amaranth").exit_code == 1


def test_verify_fails_where_the_integers_are_another_network(small, tmp_path):
    """Values of hundreds, which saturate at 16: right to the bit, and all wrong."""
    weight = DenseMatrix(np.full((2, 3), 200, np.float32))
    model = PackedModel((Linear("large", ("input",), weight),), Features(3), "large")
    save(model, tmp_path / "large")
    out = tmp_path / "out.json"
    asked = ("hw", "verify", tmp_path / "large", *small[1:], "--simulator", "amaranth")
    done = invoke(*asked, "--json", out)
    assert done.exit_code == 1
    printed = " ".join(done.output.split())
    assert "must deviate from float64 by at most 0.25 of the largest output" in printed
    result = json.loads(out.read_text())
    assert result["agrees"]
    found = result["float_deviation"]
    assert not found["within"]
    assert found["largest"] > 0.9 * found["largest_output"]
    assert invoke(*asked, "--max-deviation", 1).exit_code == 0


def test_unknown_simulators_and_impossible_requests_are_refused(small, monkeypatch):
    with pytest.raises(ArgumentError, match=r"the seed must lie in 0..2\^64 - 1, not 10{22}"):
        invoke("hw", "verify", *small, "--simulator", "amaranth", "--seed", 10**22)
    with pytest.raises(ArgumentError, match=r"gaps must lie in 0\.\.0\.99, not nan"):
        invoke("hw", "verify", *small, "--simulator", "amaranth", "--gaps", "nan")
    monkeypatch.setattr("csbrnn.commands.hw_verify.compile_model", None)  # refused before
    with pytest.raises(ArgumentError, match="a simulator must be one of"):
        invoke("hw", "verify", *small, "--simulator", "spice")
    monkeypatch.undo()
    with pytest.raises(ArgumentError, match="place and route must be for ecp5"):
        invoke("hw", "synth", *small, "--family", "xilinx", "--pnr")


@needs_yosys
def test_an_unknown_family_is_refused(small):
    with pytest.raises(ArgumentError, match="family must be one of ecp5, xilinx, not 'z80'"):
        invoke("hw", "synth", *small, "--family", "z80", "--clock", 1)


@needs_yosys
def test_verilog_writes_engine_testbench_and_images(small, tmp_path):
    out = tmp_path / "rtl"
    done = invoke("hw", "verilog", *small, "--out", out)
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == {
        "csbrnn.v", "csbrnn_tb.v", "load.hex", "input.hex", "expected.hex",
    }  # fmt: skip
    assert "iverilog" in done.output


@needs_yosys
@pytest.mark.slow
def test_synth_labels_every_number(small, tmp_path):
    out = tmp_path / "out.json"
    done = invoke("hw", "synth", *small, "--json", out)
    assert done.exit_code == 0, done.output
    result = json.loads(out.read_text())
    assert result["resources"]["label"].startswith("measured")
    assert result["resources"]["dsp"] > 2
    assert result["step"]["label"].startswith("modelled")
    assert result["step"]["clock_label"].startswith("assumed")
    step = result["step"]
    assert step["us_per_step"] == pytest.approx(step["cycles"] / step["clock_mhz"])
    assert result["energy"]["label"].startswith("modelled")


@pytest.fixture
def synthesized(monkeypatch):
    """Tools that answer at once."""
    from csbrnn.accelerator.rtl import synthesis

    found = synthesis.Resources("ecp5", {"lut": 10, "dsp": 2})
    monkeypatch.setattr(synthesis, "synthesize", lambda *args: found)
    monkeypatch.setattr(
        synthesis,
        "place_and_route",
        lambda netlist, seeds: synthesis.Placed("part", {s: 100.0 + s for s in seeds}, {}),
    )
    monkeypatch.setattr("csbrnn.accelerator.implementation.tool_version", lambda name: f"{name} 1")


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--clock", "inf", "a clock must be a positive, finite number of MHz, not inf"),
        ("--clock", "nan", "a clock must be a positive, finite number of MHz, not nan"),
        ("--input-range", "nan", "the input's range must be a positive, finite number, not nan"),
    ],
)
def test_synth_refuses_numbers_before_tools_run(small, monkeypatch, option, value, message):
    from csbrnn.accelerator.rtl import synthesis

    monkeypatch.setattr(synthesis, "synthesize", None)
    with pytest.raises(ArgumentError, match=message):
        invoke("hw", "synth", *small, option, value)


def synth(*args, tmp_path):
    out = tmp_path / "out.json"
    done = invoke("hw", "synth", *args, "--json", out)
    assert done.exit_code == 0, done.output
    return json.loads(out.read_text()), " ".join(done.output.split())


def test_synth_counts_with_the_best_seed_and_tells_the_median(small, synthesized, tmp_path):
    result, printed = synth(*small, "--pnr", "--seed", 3, "--seeds", 4, tmp_path=tmp_path)
    assert result["tools"] == {"yosys": "yosys 1", "nextpnr-ecp5": "nextpnr-ecp5 1"}
    placed = result["place_and_route"]
    assert (placed["fmax_mhz"], placed["fmax_median_mhz"]) == (106.0, 104.5)
    assert list(placed["fmax_mhz_by_seed"]) == ["3", "4", "5", "6"]
    assert result["step"]["clock_mhz"] == 106.0
    assert result["step"]["clock_label"].startswith("measured: place and route, best of 4 seeds")
    assert "best of 4 seeds, median 104.5 MHz" in printed


def test_synth_of_a_model_that_does_not_fit_says_why_there_is_no_step(small, synthesized, tmp_path):
    text = (tmp_path / "tiny.toml").read_text().replace("words = 512", "words = 8")
    (tmp_path / "tiny.toml").write_text(text)
    result, printed = synth(*small, tmp_path=tmp_path)
    assert result["resources"]["lut"] == 10
    assert result["step"]["label"].startswith("none")
    assert any("memory.words" in reason for reason in result["step"]["why"])
    assert "no step: the model doesn't fit" in printed
