"""`csbrnn study` at a size that takes seconds: killed, gone on with, timed, written down."""

import fcntl
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from rich.console import Console

from csbrnn import cli
from csbrnn.commands import study
from csbrnn.commands.study import run_study
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.pruning import pruner_of
from csbrnn.study import timing
from csbrnn.tasks import char_lm, training

SMOKE = Path(__file__).parents[2] / "studies" / "smoke.toml"

RECIPE = """
name = "small"
task = { name = "char-lm", max_chars = 12000 }
network = { hidden_size = 16 }
start = { steps = 6, learning_rate = 1e-2, batch = 4, seq_len = 16 }
finish = { steps = 8, learning_rate = 1e-2, batch = 4, seq_len = 16 }
patterns = { stripes = "csb(block=4x8,row_group=4)" }
[methods.admm]
method = { name = "admm", admm_steps = 4, retrain_steps = 4, interval = 2 }
distill = { weight = 0.5 }
[[trials]]
patterns = ["unstructured", "stripes"]
pruning_rates = [4]
"""

pytestmark = pytest.mark.filterwarnings("ignore::csbrnn.errors.ScheduleWarning")


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(timing, "_SECONDS_EACH", 0.02)
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY_S", 0.0)
    monkeypatch.setattr(study, "write_report", lambda *_: None)  # drawing takes seconds


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "small.toml").write_text(RECIPE)
    return tmp_path / "small.toml"


def run(recipe, out, **changes):
    screen = io.StringIO()
    settings = {"data": None, "parallel": 1, "threads": 1, "device": "cpu", "hours": None}
    settings |= {"known": None}
    result = run_study(
        recipe,
        out=out,
        console=Console(file=screen, width=100),
        **settings | {"timing": False} | changes,
    )
    return result, screen.getvalue()


def outcomes(result):
    return {row["label"]: (row["value"], row["value_int8"]) for row in result["rows"]}


def test_rows_say_what_was_found(recipe, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(study, "write_report", lambda result, out, _: drawn.append((result, out)))
    result, shown = run(recipe, tmp_path / "out", timing=True)
    assert drawn == [(result, tmp_path / "out")]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    assert (result["jobs"], result["done"]) == (4, 4)
    dense, unstructured, stripes = result["rows"]
    assert [row["label"] for row in result["rows"]] == ["dense", "unstructured", "stripes"]
    weights = 4 * 16 * (64 + 16)
    for row in (unstructured, stripes):
        assert row["total_weights"] == weights
        assert row["kept_weights"] <= weights / 4
        assert row["density"] == pytest.approx(0.25, abs=0.01)
        assert row["pruning_rate"] == 4
        assert row["gap"] == pytest.approx(row["value"] - dense["value"])
        assert 0 < row["gap_stderr"] < 2 * row["stderr"]
        assert row["total_bits_int8"] < dense["total_bits_int8"]
        assert row["total_bits_int8"] < row["total_bits_fp32"]
        assert row["settings"]["recipe"]["density"] == 0.25
        assert (row["metric"], row["seed"], row["task"]) == ("bits per character", 0, "char-lm")
    for row in result["rows"]:
        assert row["us_per_step"] > 0
        assert row["value_int8"] == pytest.approx(row["value"], abs=0.05)
        assert row["nbytes_int8"] < row["nbytes_fp32"]
        assert row["notes"] == []
    assert f"stripes, admm, 4x, seed 0: {stripes['value']:.4f} bits per character" in shown


def test_killed_anywhere_it_goes_on_to_the_same_result(recipe, tmp_path, monkeypatch):
    whole, _ = run(recipe, tmp_path / "whole")
    real, killed = study.run_job, []

    def dying(job, root, *, device, progress):
        def die(done, loss):
            progress(done, loss)
            if done == 5 and job.name not in killed:
                killed.append(job.name)
                raise KeyboardInterrupt

        real(job, root, device=device, progress=die)

    monkeypatch.setattr(study, "run_job", dying)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run(recipe, tmp_path / "broken")
    resumed, _ = run(recipe, tmp_path / "broken")
    assert len(killed) == 4
    assert outcomes(resumed) == outcomes(whole)
    assert not list((tmp_path / "broken").glob("*/checkpoint.pt"))


def test_what_is_done_is_not_trained_again(recipe, tmp_path, monkeypatch):
    first, _ = run(recipe, tmp_path / "out", timing=True)
    monkeypatch.setattr(study, "run_job", None)
    again, shown = run(recipe, tmp_path / "out")
    assert again == first  # times of the last race included
    assert "4 of them done" in shown


def test_more_trials_keep_the_old_ones(recipe, tmp_path):
    run(recipe, tmp_path / "out")
    recipe.write_text(RECIPE.replace("[4]", "[4, 2]"))
    result, shown = run(recipe, tmp_path / "out")
    assert "6 networks, 4 of them done" in shown
    assert [row["label"] for row in result["rows"]] == ["dense"] + 2 * ["unstructured", "stripes"]


def test_what_a_result_file_has_is_not_trained_again(recipe, tmp_path, monkeypatch):
    first, _ = run(recipe, tmp_path / "out", timing=True)
    monkeypatch.setattr(study, "run_job", None)
    known = tmp_path / "out" / "result.json"
    again, shown = run(recipe, tmp_path / "elsewhere", known=known)
    assert again == first
    assert "4 networks, 4 of them done" in shown


def test_rows_outlive_networks_that_are_deleted(recipe, tmp_path, monkeypatch):
    before, _ = run(recipe, tmp_path / "out")
    for folder in (tmp_path / "out").glob("*-seed0-*"):
        shutil.rmtree(folder)
    monkeypatch.setattr("csbrnn.commands.study.run_job", None)  # nothing is trained
    assert outcomes(run(recipe, tmp_path / "out")[0]) == outcomes(before)


def test_rows_of_an_earlier_recipe_are_moved_aside(recipe, tmp_path):
    text = recipe.read_text()
    before, _ = run(recipe, tmp_path / "out")
    recipe.write_text(text.replace("pruning_rates = [4]", "pruning_rates = [3]"))
    assert "2 rows of an earlier recipe" in run(recipe, tmp_path / "out")[1]
    aside = json.loads((tmp_path / "out" / "result.old.json").read_text())
    assert outcomes(aside) == outcomes(before)


@pytest.mark.parametrize("content", ["hello", '{"kind": "study", "name": "another"}', "{}"])
def test_a_file_that_is_no_result_of_this_study_stays(recipe, tmp_path, content):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text(content)
    with pytest.raises(ArgumentError, match=r"result\.json"):
        run(recipe, tmp_path / "out")
    assert (tmp_path / "out" / "result.json").read_text() == content


def test_a_device_that_is_not_there_is_refused_first(recipe, tmp_path):
    for device in ("foo", "cuda:99"):
        with pytest.raises(ArgumentError, match=f"not '{device}'"):
            run(recipe, tmp_path / "out", device=device)
    assert not (tmp_path / "out").exists()


def test_only_what_a_result_file_lacks_is_trained(recipe, tmp_path):
    first, _ = run(recipe, tmp_path / "out", timing=True)
    recipe.write_text(RECIPE + '[[trials]]\npatterns = ["row_balanced"]\npruning_rates = [4]\n')
    known = tmp_path / "out" / "result.json"
    result, shown = run(recipe, tmp_path / "elsewhere", known=known)
    assert "5 networks, 2 of them done" in shown
    trained = {path.parent.name for path in (tmp_path / "elsewhere").glob("*/report.json")}
    assert len(trained) == 3  # start and reference again, for the new trial's sake
    assert result["rows"][1:3] == first["rows"][1:]
    assert result["rows"][3]["job"] in trained
    assert result["rows"][3]["gap_stderr"] > 0
    assert outcomes(result).items() > outcomes(first).items()


def test_what_is_known_must_be_a_result(recipe, tmp_path):
    (tmp_path / "r.json").write_text("[]")
    with pytest.raises(ArgumentError, match=r"r\.json: must hold the result of a study"):
        run(recipe, tmp_path / "out", known=tmp_path / "r.json")


def test_failures_are_listed_and_do_not_stop_the_rest(recipe, tmp_path, monkeypatch):
    real = char_lm.window_loss

    def diverging(model, *args):
        loss = real(model, *args)
        return loss * float("nan") if pruner_of(model) else loss

    monkeypatch.setattr(char_lm, "window_loss", diverging)
    with pytest.raises(UnsupportedModelError, match="2 of 4 networks have failed") as caught:
        run(recipe, tmp_path / "out")
    assert len(caught.value.reasons) == 2
    assert "stripes, admm, 4x, seed 0: " in caught.value.reasons[1]
    assert "finite" in caught.value.reasons[1]
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [row["label"] for row in result["rows"]] == ["dense"]


@pytest.mark.slow
def test_the_smoke_study_runs(tmp_path):
    result, _ = run(SMOKE, tmp_path)
    assert result["done"] == result["jobs"] == 6
    dense, *pruned = result["rows"]
    assert dense["value"] < 5  # Python's language reference, after 80 small steps
    assert {(row["label"], row["method"], row["pruning_rate"]) for row in pruned} == {
        ("unstructured", "admm", 4.0),
        ("stripes of 4", "admm", 4.0),
        ("stripes of 4", "admm", 8.0),
        ("stripes of 4", "gradual", 8.0),
    }


def test_one_process_at_a_time_in_a_directory(recipe, tmp_path):
    (tmp_path / "out").mkdir()
    with (tmp_path / "out" / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ArgumentError, match="another process runs a study here"):
            run(recipe, tmp_path / "out")


def test_time_that_is_up_leaves_the_rest_for_later(recipe, tmp_path):
    result, text = run(recipe, tmp_path / "out", hours=0.0)
    assert (result["done"], result["rows"]) == (0, [])
    assert "4 networks are left; the same command goes on with them" in text
    with pytest.raises(ArgumentError, match="--hours must be a number, at least 0, not nan"):
        run(recipe, tmp_path / "out", hours=float("nan"))


def test_a_network_that_is_damaged_is_told_where_it_lies(recipe, tmp_path):
    result, _ = run(recipe, tmp_path / "out")
    directory = tmp_path / "out" / result["rows"][1]["job"]
    (directory / "int8" / "config.json").write_text("{")
    with pytest.raises(ArgumentError, match=f"delete {directory} to train it again"):
        run(recipe, tmp_path / "out", timing=True)


def test_ctrl_c_exits_with_130(recipe, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "run_job", interrupted)
    out = str(tmp_path / "out")
    monkeypatch.setattr(sys, "argv", ["csbrnn", "study", str(recipe), "--out", out])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130
    assert "The same command goes on where this one stopped" in capsys.readouterr().out


@pytest.mark.slow
def test_processes_that_are_killed_leave_a_study_that_goes_on(recipe, tmp_path):
    whole, _ = run(recipe, tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "csbrnn", "study", recipe, "--out", out, "--jobs", "2"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    while not list(out.glob("*/report.json")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    shown, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, shown
    resumed, _ = run(recipe, out)
    assert outcomes(resumed) == outcomes(whole)
