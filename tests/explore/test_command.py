import json

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from typer.testing import CliRunner

from csbrnn import cli
from csbrnn.explore import worker

from .models import FakeLaboratory, tables, to_toml


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "Laboratory", FakeLaboratory)
    path = tmp_path / "space.toml"
    space = {"pattern": ["csb(block=4x4)", "dense"]}
    path.write_text(to_toml(tables(tmp_path, explore={"trials": 6}, space=space)))
    return ["explore", str(path), "--out", str(tmp_path / "out")]


def test_the_front_as_table_file_and_picture(arguments, tmp_path):
    found = tmp_path / "found.json"
    done = CliRunner().invoke(cli.app, [*arguments, "--json", str(found)], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    shown = " ".join(done.output.split())
    for text in ("Pareto front", "us a step", "(reference)", "the budget of 6 trials is spent"):
        assert text in shown
    assert json.loads(found.read_text()) == json.loads(
        (tmp_path / "out" / "result.json").read_text()
    )
    assert (tmp_path / "out" / "pareto.html").exists()


def test_ctrl_c(arguments, tmp_path, monkeypatch):
    def interrupt(self, configuration, check, bounded):
        raise KeyboardInterrupt

    monkeypatch.setattr(FakeLaboratory, "meanwhile", interrupt)
    stopped = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "100"})
    assert stopped.exit_code == 130
    assert "The same command goes on where this one stopped" in " ".join(stopped.output.split())
