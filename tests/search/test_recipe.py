import pytest

pytest.importorskip("torch")

from csbrnn.errors import ArgumentError
from csbrnn.search.recipe import read_recipe

from .recipes import recipe, to_toml


def test_a_file_and_its_contents_read_alike(tmp_path):
    tables = recipe(tmp_path, search={"trials": 7, "hours": 1.5, "warm_start": True})
    path = tmp_path / "search.toml"
    path.write_text(to_toml(tables))
    read = read_recipe(path)
    assert read == read_recipe(tables)
    assert (read.ladder.first, read.ladder.step, read.ladder.max_rate) == (2, 2, 6)
    assert (read.budget.trials, read.budget.hours, read.warm_start) == (7, 1.5, True)
    assert (read.criterion.tolerance, read.criterion.lower_is_better) == (0.4, True)
    assert read.seeds == (0, 1)
    assert read.network.hidden_size == 16
    assert read.protocol.pruned.learning_rate == 3e-2
    assert read.protocol.finish.learning_rate == 2e-2
    assert read.protocol.recipe_for(read.pattern, 4).distill.weight == 0.5


def test_what_results_depend_on_leaves_out_the_datas_place(tmp_path):
    tables = recipe(tmp_path)
    copied = tmp_path / "copy.txt"
    copied.write_bytes((tmp_path / "text.txt").read_bytes())
    settings = read_recipe(tables).settings()
    assert settings == read_recipe(tables, str(copied)).settings()
    copied.write_text(copied.read_text().replace("fox", "cow"))
    assert settings != read_recipe(tables, str(copied)).settings()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"extra": 1}, "'extra' is no key of a search"),
        ({"search": {"first": 2}}, r"'first' is no key of \[search\]; there are first_rate"),
        ({"search": {"first_rate": 0.5}}, "first_rate must be a finite number above 1"),
        ({"search": {"seeds": 3}}, "seeds must be a list"),
        ({"search": {"warm_start": "no"}}, "warm_start must be true or false"),
        ({"search": {"trials": 0}}, "trials must be a whole number"),
        ({"task": {"name": "nothing"}}, "a task's name must be one of"),
        ({"network": {"hidden": 3}}, "network has the settings"),
        ({"network": {"hidden_size": 0}}, "hidden_size must be"),
        ({"pattern": "nothing"}, "a pattern's name must be one of"),
        ({"method": {"pruning_rate": 3}}, "must leave out pruning_rate"),
        ({"method": {"training": {"steps": 3}}}, "as \\[finish\\] says"),
        ({"method": {"teacher": "me"}}, "teacher must be one of"),
        ({"start": {"seed": 3}}, "start: leave seed out"),
        ({"finish": {"steps": 10}}, "the schedule takes 24 steps"),
    ],
)
def test_refusals(tmp_path, changes, text):
    with pytest.raises(ArgumentError, match=text):
        read_recipe(recipe(tmp_path, **changes))


def test_two_standard_errors_need_two_seeds(tmp_path):
    tables = recipe(tmp_path, search={"seeds": [0]})
    read_recipe(tables)
    del tables["search"]["tolerance"]
    with pytest.raises(ArgumentError, match="two seeds at least"):
        read_recipe(tables)


def test_all_unknown_keys_are_named_at_once(tmp_path):
    tables = recipe(tmp_path, extra=1, other=2, search={"first": 2})
    del tables["method"]
    with pytest.raises(ArgumentError) as error:
        read_recipe(tables)
    for text in ("'extra'", "'other'", "'first'", "'method' is missing"):
        assert text in str(error.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(ArgumentError, match="can't be read"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = = b")
    with pytest.raises(ArgumentError, match="is no TOML"):
        read_recipe(tmp_path / "bad.toml")
