import json

import pytest

pytest.importorskip("torch")

from typer.testing import CliRunner

from csbrnn import cli
from csbrnn.errors import ArgumentError
from csbrnn.tasks.char_lm import CharLMTask

from .recipes import recipe, to_toml


@pytest.fixture
def arguments(tmp_path):
    path = tmp_path / "search.toml"
    path.write_text(to_toml(recipe(tmp_path, search={"trials": 1, "seeds": [0]})))
    return ["search", str(path), "--out", str(tmp_path / "out")]


def test_ctrl_c_says_how_to_go_on_and_the_same_command_does(arguments, tmp_path, monkeypatch):
    batch_loss, calls = CharLMTask.batch_loss, [0]

    def interrupted(self, *args):
        calls[0] += 1
        if calls[0] == 30:
            raise KeyboardInterrupt
        return batch_loss(self, *args)

    monkeypatch.setattr(CharLMTask, "batch_loss", interrupted)
    stopped = CliRunner().invoke(cli.app, arguments, env={"COLUMNS": "100"})
    assert stopped.exit_code == 130
    assert "The same command goes on where this one stopped" in " ".join(stopped.output.split())

    found = tmp_path / "found.json"
    done = CliRunner().invoke(cli.app, [*arguments, "--json", str(found)], env={"COLUMNS": "100"})
    assert done.exit_code == 0, done.output
    for text in ("Lossless search", "2x", "Highest rate that held", "the budget of 1 rates"):
        assert text in " ".join(done.output.split())
    assert json.loads(found.read_text()) == json.loads(
        (tmp_path / "out" / "result.json").read_text()
    )


def test_a_recipe_that_cannot_work_is_refused(arguments, tmp_path):
    (tmp_path / "search.toml").write_text("x = 1")
    result = CliRunner().invoke(cli.app, arguments)
    assert isinstance(result.exception, ArgumentError)
    assert "'x' is no key of a search" in str(result.exception)
    assert not (tmp_path / "out").exists()
