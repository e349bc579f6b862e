"""Whatever stands at any place of a recipe file: it works, or an error of ours says why not."""

import copy

import pytest

from csbrnn.errors import CsbrnnError
from csbrnn.explore.recipe import read_recipe as read_exploration
from csbrnn.search.recipe import read_recipe as read_search
from csbrnn.study.recipe import read_recipe as read_study

WRONG = ("x", "", -1, 0, 1.5, float("nan"), float("inf"), 10**30, True, [], ["x"], [1], [[1]], {},
         {"a": 1}, [{"a": 1}])  # fmt: skip
TRAINING = {"steps": 24, "learning_rate": 2e-2, "batch": 4, "seq_len": 16, "warmup": 4}
METHOD = {
    "method": {"name": "admm", "admm_steps": 12, "retrain_steps": 12, "interval": 4},
    "distill": {"weight": 0.5},
    "training": {"learning_rate": 3e-2},
    "dropout": 0.1,
    "teacher": "start",
    "permute": True,
}
COMMON = {
    "name": "tiny",
    "task": {"name": "char-lm", "embedding_size": 8},
    "network": {"hidden_size": 16, "num_layers": 1, "dropout": 0.0},
    "start": TRAINING,
    "finish": TRAINING,
}
RECIPES = {
    "study": (
        read_study,
        COMMON
        | {
            "seeds": [0],
            "patterns": {"stripes": "csb(block=4x8,row_group=4)"},
            "methods": {"admm": METHOD | {"choose": ["csb(block=8x8)"]}},
            "trials": [{"patterns": ["stripes"], "pruning_rates": [2], "methods": ["admm"]}],
        },
    ),
    "search": (
        read_search,
        {key: value for key, value in COMMON.items() if key != "name"}
        | {
            "pattern": "csb(block=4x8,row_group=4)",
            "method": METHOD,
            "search": {"first_rate": 2, "step": 2, "seeds": [0, 1], "tolerance": 0.4,
                       "max_rate": 6, "trials": 3, "hours": 1.0, "warm_start": False},
        },
    ),
    "exploration": (
        read_exploration,
        COMMON
        | {
            "method": METHOD,
            "space": {"cell": ["lstm"], "hidden_size": [8], "pattern": ["csb", "dense"],
                      "block": ["4x4"], "row_group": [1], "pruning_rate": [2],
                      "precision": ["int8"]},
            "bound": {"loss": 0.3},
            "explore": {"trials": 12, "hours": 1.0, "seed": 1, "prune_early": True,
                        "stages": True, "objectives": ["metric", "step_us"]},
        },
    ),
}  # fmt: skip


def places(tables, before=()):
    items = tables.items() if isinstance(tables, dict) else enumerate(tables)
    for key, value in items:
        yield (*before, key)
        if isinstance(value, dict | list):
            yield from places(value, (*before, key))


def changed(tables, place, value):
    tables = copy.deepcopy(tables)
    at = tables
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return tables


@pytest.mark.parametrize("kind", RECIPES)
def test_wrong_values_are_refused_and_never_crash(kind, tmp_path):
    read, tables = RECIPES[kind]
    text = tmp_path / "text.txt"
    text.write_text("some text to read, and more of it. " * 100)
    tables = changed(tables, ("task", "data"), str(text))
    read(tables)  # as it is, it works
    refused = 0
    for place in places(tables):
        for value in WRONG:
            try:
                read(changed(tables, place, value))
            except CsbrnnError:
                refused += 1
            except Exception as error:
                pytest.fail(f"{place} = {value!r}: {error!r}")
    assert refused > 300
