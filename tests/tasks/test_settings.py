import pytest

from csbrnn.errors import ArgumentError
from csbrnn.tasks.settings import load_toml, replaced
from csbrnn.tasks.training import Training


def test_tables_change_what_they_name():
    training = Training(steps=10, learning_rate=0.1)
    changed = replaced("finish", training, {"batch": 4})
    assert (changed.batch, changed.steps, training.batch) == (4, 10, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (3, "finish must be a table of settings, not 3"),
        ({"length": 3}, r"finish has the settings steps, .* and no 'length'"),
        ({"batch": 0}, "finish: training can't work: batch must"),
    ],
)
def test_tables_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ArgumentError, match=message):
        replaced("finish", Training(steps=10, learning_rate=0.1), changes)


def test_files_are_read_or_refused(tmp_path):
    (tmp_path / "a.toml").write_text("[a]\nb = 1e-2")
    assert load_toml(tmp_path / "a.toml") == {"a": {"b": 0.01}}
    (tmp_path / "b.toml").write_bytes(b"\xff")
    with pytest.raises(ArgumentError, match=r"b\.toml: is no TOML"):
        load_toml(tmp_path / "b.toml")
    with pytest.raises(ArgumentError, match=r"c\.toml: can't be read: No such file"):
        load_toml(tmp_path / "c.toml")
