import copy
from pathlib import Path

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.study import jobs_of, read_recipe
from csbrnn.tasks.registry import TASKS

RECIPES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))

SMALL = {
    "name": "small",
    "task": {"name": "char-lm", "max_chars": 2000},
    "network": {"hidden_size": 8},
    "finish": {"steps": 10},
    "patterns": {"stripes": "csb(block=4x8,row_group=4)"},
    "methods": {
        "admm": {
            "method": {"name": "admm", "admm_steps": 5, "retrain_steps": 5, "interval": 5},
            "distill": {"weight": 0.5},
            "training": {"learning_rate": 0.01},
            "dropout": 0.1,
        },
        "one-shot": {"method": {"name": "gradual", "begin": 0, "end": 0}},
    },
    "trials": [
        {"patterns": ["unstructured", "stripes"], "pruning_rates": [8, 4]},
        {"patterns": ["stripes"], "pruning_rates": [4], "methods": ["one-shot"], "seeds": [0, 7]},
    ],
}


def small(**changes):
    return copy.deepcopy(SMALL) | changes


def text(recipe):
    return [
        f"{trial.label} {trial.method} {trial.recipe.pruning_rate:g} {trial.seed}"
        for trial in recipe.trials
    ]


def test_groups_expand_in_order():
    assert text(read_recipe(SMALL)) == [
        "unstructured admm 8 0",
        "stripes admm 8 0",
        "unstructured admm 4 0",
        "stripes admm 4 0",
        "stripes one-shot 4 0",
        "stripes one-shot 4 7",
    ]


def test_what_groups_share_is_run_once():
    trials = [*SMALL["trials"], {"patterns": ["stripes"], "pruning_rates": [8], "seeds": [0, 1]}]
    assert text(read_recipe(small(trials=trials)))[6:] == ["stripes admm 8 1"]


def test_settings_come_from_the_task_the_file_and_the_method():
    recipe = read_recipe(SMALL)
    trial = recipe.trials[0]
    assert recipe.network.cell == TASKS["char-lm"].network.cell
    assert recipe.start == TASKS["char-lm"].training
    assert (trial.training.steps, trial.training.learning_rate) == (10, 0.01)
    assert (trial.dropout, recipe.trials[-1].dropout) == (0.1, recipe.network.dropout)
    assert trial.recipe.distill.weight == 0.5


def test_patterns_can_be_tables():
    pattern = {"name": "csb", "block": [4, 8], "row_group": 4}
    recipe = read_recipe(small(trials=[{"patterns": [pattern], "pruning_rates": [2]}]))
    assert str(recipe.trials[0].recipe.pattern) == SMALL["patterns"]["stripes"]


def test_data_can_be_given_from_outside(tmp_path):
    (tmp_path / "t.txt").write_text("abcdefgh " * 300)
    recipe = read_recipe(SMALL, data=str(tmp_path / "t.txt"))
    assert len(recipe.task.corpus.vocabulary) == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"colour": 1}, "'colour' is no key of a study"),
        ({"name": "../up"}, "name must be made of letters"),
        ({"reference_rate": "8x"}, "reference_rate must be a number, at least 1, not '8x'"),
        ({"network": 3}, "network must be a table, not 3"),
        ({"methods": {"admm": 1}}, "methods.admm must be a table, not 1"),
        ({"trials": {"patterns": ["x"]}}, "trials must be tables, each begun by"),
        (
            {"trials": [{"patterns": ["x"], "rates": [2]}]},
            "'rates' is no key of trials 1;",
        ),
        ({"task": {"name": "chess"}}, "a task's name must be one of"),
        ({"network": {"cell": "cnn"}}, "cell must be one of lstm, gru, .*, not 'cnn'"),
        ({"finish": {"length": 3}}, "finish has the settings steps, .* and no 'length'"),
        ({"finish": {"steps": 10, "seed": 1}}, "finish: leave seed out"),
        ({"start": {"seed": 1}}, "start: leave seed out"),
        ({"finish": {"steps": 9}}, "the schedule takes 10 steps, and .finish. has only 9"),
        ({"trials": []}, "there are no trials"),
        ({"trials": [{"pruning_rates": [2]}]}, "trials 1: patterns must be a list"),
        (
            {"trials": [{"patterns": ["cubes"], "pruning_rates": [2]}]},
            "methods.admm with cubes at 2x: .* a pattern's name must be one of",
        ),
        (
            {"trials": [{"patterns": ["stripes"], "pruning_rates": [0.5]}]},
            "pruning_rate .* must be at least 1, not 0.5",
        ),
        (
            {"trials": [{"patterns": ["stripes"], "pruning_rates": [2], "methods": ["magic"]}]},
            "trials 1: method 'magic' is not described; there are admm, one-shot",
        ),
        (
            {"trials": [{"patterns": ["stripes"], "pruning_rates": [2], "seeds": ["a"]}]},
            "seeds must be whole numbers, at least 0, not 'a'",
        ),
    ],
)
def test_what_can_not_work_is_refused(changes, message):
    with pytest.raises(ArgumentError, match=f"(?s){message}"):
        read_recipe(small(**changes))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training", {"steps": 5}, "trials are as long as .finish. says"),
        ("teacher", "me", "teacher must be one of finished, start, not 'me'"),
        ("dropout", 1.5, r"dropout must lie in \[0, 1\)"),
        ("density", 0.5, "density are for ..trials.. to say"),
    ],
)
def test_methods_that_can_not_work_are_refused(key, value, message):
    tables = small()
    tables["methods"]["admm"][key] = value
    with pytest.raises(ArgumentError, match=message):
        read_recipe(tables)


def test_all_reasons_come_at_once():
    tables = small(network={"hidden_size": 0}, start={"batch": 0}, finish={"clip": 0})
    with pytest.raises(ArgumentError) as caught:
        read_recipe(tables)
    for name in ("hidden_size", "batch", "clip"):
        assert name in str(caught.value)


def test_files_that_are_no_toml_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="can't be read: No such file"):
        read_recipe(tmp_path / "missing.toml")
    (tmp_path / "x.toml").write_text("a = = 1")
    with pytest.raises(ArgumentError, match="is no TOML"):
        read_recipe(tmp_path / "x.toml")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_committed_recipes_can_work(path):
    recipe = read_recipe(path)
    assert recipe.name == path.stem
    assert recipe.trials


def test_jobs_put_what_is_needed_first():
    jobs = jobs_of(read_recipe(SMALL))
    assert len(jobs) == 6 + 2 * 2
    seen = set()
    for job in jobs:
        assert set(job.needs.values()) <= seen
        seen.add(job.name)
    assert len(seen) == len(jobs)


def test_names_change_with_what_matters_and_with_nothing_else():
    def names(**changes):
        return [job.name for job in jobs_of(read_recipe(small(**changes)))]

    assert names() == names()
    assert names() == names(name="another", patterns=SMALL["patterns"] | {"more": "unstructured"})
    assert not set(names()) & set(names(network={"hidden_size": 9}))
    assert not set(names()) & set(names(task={"name": "char-lm", "max_chars": 2001}))
    longer = names(finish={"steps": 11})
    assert [a == b for a, b in zip(names(), longer, strict=True)] == [
        name.startswith("start") for name in names()
    ]
