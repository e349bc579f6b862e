"""`csbrnn report`."""

import json
import sys

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")

from rich.console import Console

from csbrnn import cli
from csbrnn.commands.report import write_report
from csbrnn.errors import MissingDependencyError

from .results import make_result


def call(monkeypatch, capsys, *args):
    monkeypatch.setattr(sys, "argv", ["csbrnn", "report", *map(str, args)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    return stop.value.code or 0, out, " ".join(err.split())


def test_tables_and_pictures_are_written(tmp_path, monkeypatch, capsys):
    (tmp_path / "result.json").write_text(json.dumps(make_result()))
    status, out, _ = call(
        monkeypatch, capsys, tmp_path / "result.json", "--out", tmp_path / "pictures"
    )
    assert status == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "made-up.md",
        "made-up.png",
        "made-up.html",
    }
    assert "| unstructured | admm |" in (tmp_path / "pictures" / "made-up.md").read_text()
    assert "stripes of 4" in out


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: r.update(rows=5), "'rows' must be a list, not 5"),
        (lambda r: r["rows"].__setitem__(2, {}), "row 2 lacks gap, gap_stderr, kept_weights"),
        (lambda r: r["rows"].__setitem__(2, None), "row 2 must be an object, not None"),
        (lambda r: r["rows"][1].update(value=None), "'value' of row 1 must be a number, not None"),
        (lambda r: r["rows"][1].update(gap="x"), "'gap' of row 1 must be a number, not 'x'"),
        (lambda r: r.pop("timing"), "'timing' must be a dict"),
        (lambda r: r["task"].pop("metric"), "'task' lacks metric"),
    ],
)
def test_damaged_results_are_refused(tmp_path, monkeypatch, capsys, damage, message):
    result = make_result()
    damage(result)
    (tmp_path / "result.json").write_text(json.dumps(result))
    status, _, err = call(monkeypatch, capsys, tmp_path / "result.json", "--out", tmp_path)
    assert status == 1
    assert f"result.json: is damaged: {message}" in err


def test_files_are_there_whoever_reads_the_tables(tmp_path, monkeypatch):
    def leave(self, *_, **__):
        raise BrokenPipeError

    monkeypatch.setattr("rich.console.Console.print", leave)
    with pytest.raises(BrokenPipeError):
        write_report(make_result(), tmp_path, Console())
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "can't be read: No such file"),
        ("[", "is no JSON"),
        ("[]", "must hold"),
        ("{}", "this is none"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, monkeypatch, capsys, content, message):
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    status, _, err = call(monkeypatch, capsys, tmp_path / "result.json", "--out", tmp_path)
    assert status == 1
    assert err.startswith("error: ")
    assert message in err


def test_brackets_are_no_markup(tmp_path, monkeypatch, capsys):
    (tmp_path / "result.json").write_text(json.dumps(make_result()))
    out = tmp_path / "pics [/b]"
    status, text, _ = call(monkeypatch, capsys, tmp_path / "result.json", "--out", out)
    assert status == 0
    assert f"{out}/made-up.md" in text.replace("\n", "")

    def missing(*_):
        raise MissingDependencyError("pip install 'csbrnn[study]'")

    monkeypatch.setattr("csbrnn.commands.report.draw_png", missing)
    _, text, _ = call(monkeypatch, capsys, tmp_path / "result.json", "--out", out)
    assert "csbrnn[study]" in text
