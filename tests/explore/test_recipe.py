import pytest

pytest.importorskip("torch")

from csbrnn.errors import ArgumentError
from csbrnn.explore.recipe import read_recipe
from csbrnn.explore.space import DENSE

from .models import recipe, tables, to_toml


def test_a_file_and_its_contents_read_alike(tmp_path):
    path = tmp_path / "space.toml"
    path.write_text(to_toml(tables(tmp_path)))
    read = read_recipe(path)
    assert read == read_recipe(tables(tmp_path))
    assert read.costs == ("step_us", "nbytes")
    assert (read.budget.trials, read.bounds.loss, read.seed) == (12, 0.3, 0)
    assert (read.prune_early, read.stages) == (True, True)
    assert read.reference.pattern == DENSE
    assert read.reference.hidden_size == 16
    # Six sizes; three blocks of CSB, and unstructured, at two rates; dense; each twice.
    assert len(read.space.configurations) == 6 * (4 * 2 + 1) * 2
    assert read.choices()["hidden_size"] == [8, 12, 16]


def test_pairs_that_cannot_work_are_left_out(tmp_path):
    read = recipe(
        tmp_path, space={"pattern": ["block_circulant(block=4)", "dense"], "pruning_rate": [2, 4]}
    )
    kinds = {(c.pattern, c.pruning_rate, c.precision) for c in read.space.configurations}
    assert ("block_circulant(block=4)", 4.0, "fp32") in kinds
    assert ("block_circulant(block=4)", 2.0, "fp32") not in kinds
    assert any("density" in reason for reason in read.space.left_out)


def test_an_absolute_bound_needs_no_reference(tmp_path):
    changed = tables(tmp_path)
    changed["bound"] = {"metric": 2.5, "step_us": 100}
    read = read_recipe(changed)
    assert read.reference is None
    assert read.bounds.costs == {"step_us": 100}


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"extra": 1}, "'extra' is no key of an exploration"),
        ({"bound": {"metric": 2.0}}, "exactly one of bound.loss and bound.metric"),
        (
            {"bound": {"time": 2.0}},
            r"'time' is no key of \[bound\]; there are loss",
        ),
        ({"explore": {"trial": 2}}, r"'trial' is no key of \[explore\]"),
        ({"explore": {"trials": 0}}, "trials must be a whole number"),
        ({"explore": {"seed": -1}}, "explore.seed must be"),
        ({"explore": {"stages": 1}}, "explore.stages must be true or false"),
        ({"explore": {"objectives": ["step_us"]}}, "objectives must be 'metric' and some of"),
        ({"explore": {"objectives": ["metric", "joy"]}}, "objectives must be 'metric'"),
        ({"space": {"cell": ["rnn"]}}, "space.cell: must be one of lstm, gru"),
        ({"explore": {"objectives": ["metric", "cycles"]}}, "name one by explore.arch"),
        ({"bound": {"cycles": 100}}, "name one by explore.arch"),
        ({"explore": {"arch": "pe3"}}, "arch must be one of pe16"),
        ({"method": {"teacher": "finished"}}, "teacher must be 'start'"),
        ({"finish": {"steps": 3}}, "the schedule takes 16 steps, and"),
        ({"task": {"name": "x"}}, "a task's name"),
    ],
)
def test_refusals(tmp_path, changes, text):
    if "space" not in changes and "finish" in changes:
        changes = changes | {"space": {"pattern": ["csb"]}}
    with pytest.raises(ArgumentError, match=text):
        recipe(tmp_path, **changes)
