import pytest

from csbrnn.errors import ArgumentError
from csbrnn.patterns.sizes import check_size, is_size, parse_block


def test_sizes():
    assert is_size(1)
    assert not any(is_size(value) for value in (0, -1, 1.0, True, "1", None))
    check_size("bank_size", 3)
    with pytest.raises(ArgumentError, match="bank_size must be a positive integer, not 'x'"):
        check_size("bank_size", "x")


def test_blocks():
    assert parse_block([4, "all"]) == (4, None)
    with pytest.raises(ArgumentError, match=r"each a positive integer or None \(all\), not 4"):
        parse_block(4)
