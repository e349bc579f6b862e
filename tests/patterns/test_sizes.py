import pytest

from csbrnn.errors import ArgumentError
from csbrnn.patterns.sizes import check_size, parse_block


def test_sizes():
    check_size("bank_size", 3)


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None])
def test_what_is_no_size(value):
    with pytest.raises(ArgumentError, match=f"bank_size must be a positive integer, not {value!r}"):
        check_size("bank_size", value)


def test_blocks():
    assert parse_block([4, "all"]) == (4, None)
    with pytest.raises(ArgumentError, match=r"each a positive integer or None \(all\), not 4"):
        parse_block(4)
