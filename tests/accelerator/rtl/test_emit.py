"""The engine as Verilog: small, with a testbench that passes, and that fails where it must."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from csbrnn.accelerator.tools import has_tool, require_tool

from .random_image import ARCHS, random_image

pytest.importorskip("amaranth")
if not has_tool("yosys"):
    pytest.skip("needs Yosys", allow_module_level=True)

from csbrnn.accelerator import load_arch, run_image, trace
from csbrnn.accelerator.loading import outcome_steps, stimulus_of
from csbrnn.accelerator.rtl.emit import emit_verilog
from csbrnn.accelerator.rtl.testbench import write_testbench

STEPS = 2


def test_groups_and_streams_are_written_once_however_many_there_are():
    text = emit_verilog(load_arch("pe256"))
    assert len(re.findall(r"^module csbrnn_stream\(", text, re.M)) == 1
    assert len(re.findall(r"^module csbrnn_group\(", text, re.M)) == 1
    assert len(re.findall(r"^  csbrnn_group \\?instance", text, re.M)) == 16
    assert len(text) < 500_000


def test_no_wire_is_without_bits():
    """With one value of x a write there is nothing to choose among those that are read."""
    assert not re.findall(r"\[-\d+:0\]", emit_verilog(ARCHS["1x1x1"]))


@pytest.fixture(scope="module")
def testbench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verilog")
    image = random_image(ARCHS["2x2x2"], 0)
    xs = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (STEPS, image.input_length))
    paths = write_testbench(image, xs, folder)
    assert [path.name for path in paths] == [
        "csbrnn.v", "csbrnn_tb.v", "load.hex", "input.hex", "expected.hex",
    ]  # fmt: skip
    return folder


def icarus(folder, *options):
    command = ["iverilog", "-Wtimescale", *options, "-o", "tb", "csbrnn.v", "csbrnn_tb.v"]
    built = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    assert built.stderr == ""
    done = subprocess.run(
        ["vvp", "tb"], cwd=folder, capture_output=True, text=True, check=True, timeout=900
    )
    return done.stdout


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
@pytest.mark.parametrize("generation", ["2001", "2012"])
def test_the_testbench_passes_in_verilog_and_in_systemverilog(testbench, generation):
    printed = icarus(testbench, f"-g{generation}")
    assert re.search(r"^PASS: \d+ output beats, \d+ cycles$", printed, re.M)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_the_testbench_notices_a_wrong_value(testbench, tmp_path):
    shutil.copytree(testbench, tmp_path / "wrong")
    expected = tmp_path / "wrong" / "expected.hex"
    first, rest = expected.read_text().split("\n", 1)
    expected.write_text(f"{first[0]}{int(first[1:], 16) ^ 1:0{len(first) - 1}x}\n{rest}")
    assert re.search(
        r"^FAIL: \d+ of \d+ output beats came, 1 of them wrong", icarus(tmp_path / "wrong"), re.M
    )


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
@pytest.mark.parametrize(
    ("wire", "message"),
    [
        ("load_ready", r"FAIL: 0 of \d+ beats loaded after \d+ cycles"),
        ("ready", r"FAIL: not ready \d+ cycles after loading"),
    ],
)
def test_the_testbench_ends_where_the_engine_hangs_before_it_runs(
    testbench, tmp_path, wire, message
):
    folder = shutil.copytree(testbench, tmp_path / "hung")
    text = (folder / "csbrnn_tb.v").read_text()
    assert text.count(f"ready({wire})") == 1
    never = text.replace(f"ready({wire})", "ready()").replace(
        "endmodule", f"assign {wire} = 0;\nendmodule"
    )
    (folder / "csbrnn_tb.v").write_text(never)
    (line,) = [line for line in icarus(folder).splitlines() if line.startswith(("PASS", "FAIL"))]
    assert re.fullmatch(message, line)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
@pytest.mark.parametrize("wire", ["cycles", "state"])
def test_what_is_unknown_does_not_pass(testbench, tmp_path, wire):
    folder = shutil.copytree(testbench, tmp_path / "unknown")
    text = (folder / "csbrnn_tb.v").read_text()
    assert text.count(f".{wire}({wire})") == 1
    (folder / "csbrnn_tb.v").write_text(text.replace(f".{wire}({wire})", f".{wire}()"))
    (line,) = [line for line in icarus(folder).splitlines() if line.startswith(("PASS", "FAIL"))]
    assert line.startswith("FAIL")


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_the_testbench_tells_of_a_load_packet_for_nothing(testbench, tmp_path):
    folder = shutil.copytree(testbench, tmp_path / "nothing")
    load = folder / "load.hex"
    load.write_text("00000009\n" + load.read_text().split("\n", 1)[1])
    assert re.search(r"^FAIL: stopped with code \d+ at loading$", icarus(folder), re.M)


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="needs Icarus Verilog")
def test_nothing_depends_on_a_place_that_is_read_while_it_is_written(tmp_path, monkeypatch):
    text = emit_verilog(ARCHS["2x2x2"], collisions=False)
    assert len(re.findall(r"<= 36'hx+;", text)) >= 4  # of the two y banks of each lane
    monkeypatch.setattr("csbrnn.accelerator.rtl.testbench.emit_verilog", lambda arch: text)
    for seed in range(10, 14):
        image = random_image(ARCHS["2x2x2"], seed)
        xs = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (STEPS, image.input_length))
        write_testbench(image, xs, tmp_path)
        assert re.search(r"^PASS: ", icarus(tmp_path), re.M), seed


@pytest.mark.skipif(not has_tool("verilator"), reason="needs Verilator")
@pytest.mark.parametrize("arch", ARCHS)
def test_verilator_has_nothing_to_warn_of(arch, tmp_path):
    from csbrnn.accelerator.rtl.verilator import verilator_environment

    (tmp_path / "csbrnn.v").write_text(emit_verilog(ARCHS[arch]))
    verilator = require_tool("verilator")
    command = [*verilator, "--lint-only", "--top-module", "csbrnn_accelerator", "csbrnn.v"]
    environment = verilator_environment(verilator[0])
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(not has_tool("verilator"), reason="needs Verilator")
def test_verilator_finds_the_same_outputs_and_cycles():
    from csbrnn.accelerator.rtl.verilator import simulate_verilator

    image = random_image(ARCHS["2x2x2"], 1)
    xs = np.random.default_rng(0).integers(-(1 << 15), 1 << 15, (STEPS, image.input_length))
    outcome = simulate_verilator(image.arch, stimulus_of(image, xs, limit=5000))
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))
    assert outcome.cycles == trace(image, STEPS).end
