import pytest

from csbrnn.errors import ArgumentError
from csbrnn.tasks.char_lm import CharLMTask
from csbrnn.tasks.settings import replaced
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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"held_out": 0}, r"held_out must be a number in 0\.001\.\.0\.9, not 0"),
        ({"held_out": "x"}, "held_out must be a number"),
        ({"embedding_size": 0}, "embedding_size must be a whole number in 1..65536, not 0"),
        ({"max_chars": -5}, "max_chars must be a whole number"),
    ],
)
def test_settings_of_a_task_out_of_range_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        CharLMTask(**settings)
