import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.formats import Fields, located, shown


@pytest.mark.parametrize("value", [True, False, 2.0, "2", None, [2], -1, 11, float("nan")])
def test_integer_takes_nothing_else(value):
    with pytest.raises(FormatError, match=r"at\.n must be an integer in 0\.\.10, not "):
        Fields({"n": value}, "at").integer("n", 0, 10)


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_boolean_takes_nothing_else(value):
    with pytest.raises(FormatError, match=r"at\.b must be true or false, not "):
        Fields({"b": value}, "at").boolean("b")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], r"at\.l must hold 2 integers, not 1"),
        ([1, 2, 3], r"at\.l must hold at most 2, not 3"),
        ([1, "2"], r"at\.l\[1\] must be an integer in 0\.\.9, not '2'"),
        ({"0": 1}, r"at\.l must be a list, not an object of 1"),
    ],
)
def test_integers(value, message):
    with pytest.raises(FormatError, match=message):
        Fields({"l": value}, "at").integers("l", 2, 0, 9)


def test_choice_and_string():
    with pytest.raises(FormatError, match=r"at\.c must be one of a, b, not 'c'"):
        Fields({"c": "c"}, "at").choice("c", ("a", "b"))
    with pytest.raises(FormatError, match=r"at\.c must be one of a, b, not a list of 0"):
        Fields({"c": []}, "at").choice("c", ("a", "b"))
    with pytest.raises(FormatError, match=r"at\.s must have at most 2 characters, not 3"):
        Fields({"s": "abc"}, "at").string("s", 2)
    with pytest.raises(FormatError, match=r"at\.s\[0\] must be a string, not 1"):
        Fields({"s": [1]}, "at").strings("s", 2, 2)


def test_missing_and_unknown_keys_are_named():
    fields = Fields({"a": 1, "b\n": 2}, "file.json", ": ")
    with pytest.raises(FormatError, match=r"file\.json: c is missing"):
        fields.take("c")
    assert fields.take("a") == 1
    with pytest.raises(FormatError, match=r"file\.json has unknown keys: 'b\\n'"):
        fields.done()


def test_only_objects_have_fields():
    with pytest.raises(FormatError, match=r"at\.x must be an object, not a list of 0"):
        Fields({"x": []}, "at").fields("x")


def test_messages_are_short_and_printable():
    assert shown("a" * 10**6) == "'" + "a" * 59 + "..."
    assert shown("\x1b[2J\ud800") == r"'\x1b[2J\ud800'"
    assert shown({"a": 1}) == "an object of 1"


def test_located_prefixes():
    with pytest.raises(FormatError, match=r"^here: not so$"), located("here"):
        raise ArgumentError("not so")
