"""A bool is no number."""

import math

import pytest

from csbrnn.checks import is_file_name, is_integer, is_number, unknown_keys


@pytest.mark.parametrize("value", [True, False, 1.0, "1", None, [1]])
def test_what_is_no_integer(value):
    assert not is_integer(value)


def test_integers():
    assert is_integer(-1)
    assert is_integer(2, 2)
    assert not is_integer(1, 2)


@pytest.mark.parametrize(
    ("value", "is_one"),
    [(1, True), (0.5, True), (math.inf, True), (True, False), ("1", False), (1j, False)],
)
def test_numbers(value, is_one):
    assert is_number(value) is is_one


def test_keys_that_nothing_reads():
    assert unknown_keys("a search", {"a": 1, "b": 2}, ("a",)) == [
        "'b' is no key of a search; there are a"
    ]


@pytest.mark.parametrize(
    ("value", "names"),
    [("a.b-c_1", True), (".hidden", True), ("..", False), (".", False), ("a/b", False), (3, False)],
)
def test_file_names(value, names):
    assert is_file_name(value) is names
