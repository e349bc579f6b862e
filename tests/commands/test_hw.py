"""``csbrnn hw compile`` and ``simulate`` as a user meets them."""

import json
import sys

import pytest
from typer.testing import CliRunner

from csbrnn import cli
from csbrnn.accelerator import parse_program
from csbrnn.commands.hw_model import load_hw_model
from csbrnn.commands.hw_timeline import draw_timeline, timeline_text
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix
from csbrnn.model import save


@pytest.fixture
def text_dir(text_model, tmp_path):
    save(text_model, tmp_path / "text")
    return str(tmp_path / "text")


def invoke(*args):
    return CliRunner().invoke(cli.app, [str(a) for a in args], catch_exceptions=False)


def refusal(monkeypatch, capsys, *args):
    """What `main` prints as the console script fails."""
    monkeypatch.setattr(sys, "argv", ["csbrnn", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    return " ".join(capsys.readouterr().err.split())


def test_compile_writes_a_program(text_dir, tmp_path):
    out, text = tmp_path / "out.json", tmp_path / "program.txt"
    done = invoke("hw", "compile", text_dir, "--arch", "pe16", "--json", out, "--assembly", text)
    assert done.exit_code == 0, done.output
    assert "words" in done.output
    found = json.loads(out.read_text())
    assert found["pes"] == 16
    program = parse_program(text.read_text())
    assert len(program) == found["memories"]["program"][0]
    assert parse_program("\n".join(found["program"])) == program
    printed = invoke("hw", "compile", text_dir, "--arch", "pe16")
    assert "vop   " in printed.output


def test_simulate_tells_cycles_and_compares(text_dir, tmp_path):
    out = tmp_path / "out.json"
    done = invoke("hw", "simulate", text_dir, "--arch", "pe16", "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert found["utilization"] == found["kept_weights"] / (found["pes"] * found["cycles"])
    assert found["functional"]["mismatches"] == 0
    assert 0 < found["functional"]["largest_error"] < 0.01
    assert found["latency_cycles"] > 0
    assert {"lock_step", "lock_step_neighbours", "unbalanced"} == found["baselines"].keys()
    assert "label" in found


def test_what_can_t_be(monkeypatch, capsys, text_dir, tmp_path):
    ask = lambda *args: refusal(monkeypatch, capsys, "hw", *args)  # noqa: E731
    assert "pe16, pe64, pe256, pe512" in ask("simulate", text_dir, "--arch", "pe1")
    assert "only cases (sr, mt)" in ask("compile", text_dir, "--block", "4x4")
    tiny = tmp_path / "tiny.toml"
    tiny.write_text(
        "[engine]\ngroups = 1\nstreams = 1\nlanes = 1\nx_write = 1\n"
        "[memory]\nwords = 9\nstrips = 9\nx = 64\ny = 99\nvector = 99\nprogram = 99\n"
    )
    too_large = ask("compile", text_dir, "--arch", tiny)
    assert "memory.words" in too_large
    assert "too few" in too_large


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": "32"}, "must read .* not 'block=32 row_group=4'"),
        ({"block": "30x32", "row_group": 4}, "row_group must divide"),
        ({"rate": 0.5}, "at least 1"),
        ({"rate": float("nan")}, "at least 1, and finite, not nan"),
        ({"rate": float("inf"), "pattern": "banks"}, "at least 1, and finite, not inf"),
        ({"rate": 0}, "at least 1, and finite, not 0"),
        ({"block": ""}, "block"),
        ({"row_group": 0}, "row_group"),
        ({"pattern": "blocks", "block": ""}, "block"),
        ({"pattern": "circles"}, "one of csb, banks, blocks, not 'circles'"),
        ({"pattern": "blocks", "row_group": 4}, "--row-group is for --pattern csb; blocks has no"),
        ({"pattern": "banks", "row_group": 4}, "--row-group is for --pattern csb; banks has no"),
        ({"pattern": "banks", "block": "8x8"}, "--block is for --pattern csb or blocks"),
    ],
)
def test_cases_that_can_t_be(options, message):
    with pytest.raises(ArgumentError, match=message):
        load_hw_model("sr", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"block": "8x8", "row_group": 8},
        {"pattern": "banks"},
        {"pattern": "blocks", "block": "8x8"},
    ],
)
def test_cases_keep_what_the_paper_s_rate_asks_for(options):
    model = load_hw_model("sr", **options)
    kept = sum(m.kept for m in model.matrices.values())
    size = sum(m.size for m in model.matrices.values())
    assert size / kept == pytest.approx(13.5, rel=0.02)
    assert all(isinstance(m, CSBMatrix) for m in model.matrices.values())


def test_timelines(text_model, tmp_path):
    from csbrnn.accelerator import compile_model, compile_step, load_arch

    compiled = compile_model(text_model, load_arch("pe64"))
    before = compile_step(compiled.step, compiled.arch, balance=False)
    text = timeline_text(compiled, before)
    lines = text.splitlines()
    assert len(lines) == 1 + 4 + len(compiled.image.segment_names)
    assert all("A" in line for line in lines[1:5])
    pytest.importorskip("matplotlib")
    assert draw_timeline(compiled, before, tmp_path / "t.png") == ""
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ArgumentError, match="can't be made a directory"):
        draw_timeline(compiled, before, tmp_path / "t.png" / "t.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ArgumentError, match="can't be written"):
        draw_timeline(compiled, before, tmp_path / "folder.png")


@pytest.mark.parametrize("name", ["x.foo", "x", ".png"])
def test_a_timeline_s_name_says_what_picture_it_is(monkeypatch, capsys, text_dir, name):
    pytest.importorskip("matplotlib")
    message = refusal(
        monkeypatch, capsys, "hw", "simulate", text_dir, "--arch", "pe16", "--timeline", name
    )
    assert f"{name}: a picture's name must end in .png" in message


def test_a_range_without_an_end_is_refused(monkeypatch, capsys, text_dir):
    asked = ("hw", "compile", text_dir, "--arch", "pe16", "--input-range", "inf")
    assert "must be a positive, finite number, not inf" in refusal(monkeypatch, capsys, *asked)
