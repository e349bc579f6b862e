import pytest

from csbrnn.errors import ArgumentError
from csbrnn.patterns import CSB, Unstructured, parse_pattern, pattern_from_dict


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("unstructured", Unstructured()),
        ("unstructured()", Unstructured()),
        ("csb", CSB()),
        ("csb(block=16x64,row_group=16)", CSB((16, 64), row_group=16)),
        (" csb( block = 16x64 , row_group = 16 ) ", CSB((16, 64), row_group=16)),
        ("csb(block=16xall,row_group=16)", CSB((16, None), row_group=16)),
        ("csb(block=allxall)", CSB((None, None))),
    ],
)
def test_texts_that_read(text, pattern):
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must read like"),
        ("csb(", "must read like"),
        ("csb)block=1x1(", "must read like"),
        ("checkers", "one of unstructured, csb, .*, not 'checkers'"),
        ("csb(16x64)", "must read key=value, not '16x64'"),
        ("csb(block=)", "must read key=value"),
        ("csb(tile=16x64)", "has the fields block, row_group, and no 'tile'"),
        ("unstructured(block=16x64)", "has no fields, and no 'block'"),
        ("csb(row_group=2,row_group=4)", "'row_group' is given twice"),
        ("csb(block=16)", "block must be two sizes"),
        ("csb(block=16x0)", "block must be two sizes"),
        ("csb(block=1x2x3)", "block must be two sizes"),
        ("csb(row_group=-2)", "row_group must be a positive integer, not -2"),
        ("csb(row_group=true)", "row_group must be a positive integer, not True"),
        ("csb(row_group=name=csb)", "row_group must be a positive integer"),
        ("csb(name=unstructured)", "'name' is given twice"),
    ],
)
def test_texts_that_do_not(text, message):
    with pytest.raises(ArgumentError, match=message):
        parse_pattern(text)


def test_plain_data_is_what_json_and_toml_carry():
    assert CSB((16, None), row_group=16).to_dict() == {
        "name": "csb",
        "block": [16, "all"],
        "row_group": 16,
    }
    with pytest.raises(ArgumentError, match="not None"):
        pattern_from_dict({"block": [1, 1]})
