import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.errors import FormatError
from csbrnn.model.strict_json import MAX_DEPTH, check_json, dump_json, parse_json

text = st.text(st.characters(codec="utf-8"))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4)
)


@given(values)
def test_round_trip(value):
    assert parse_json(dump_json(value, "f"), "f") == value


@given(st.binary(max_size=64))
def test_any_bytes_are_parsed_or_refused(data):
    try:
        value = parse_json(data, "f")
    except FormatError:
        return
    assert json.loads(data) == value


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must be JSON in UTF-8"),
        (b"\xef\xbb\xbf{}", "must be JSON in UTF-8"),
        (b"{} {}", "must be JSON in UTF-8"),
        (b"'a'", "must be JSON in UTF-8"),
        (b'{"a": 1, "b": 2, "a": 1}', "key 'a' appears twice"),
        (b"-Infinity", "numbers must be finite, not -Infinity"),
        (b"[-1e999]", "numbers must be finite, not -inf"),
        (b"9223372036854775808", "integers must fit 64 bits"),
        (b"-9223372036854775809", "integers must fit 64 bits"),
        (b'{"\\udfff": 1}', "text must be Unicode"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "must nest at most 32 deep"),
    ],
)
def test_refusals(data, message):
    with pytest.raises(FormatError, match=f"^f: {message}"):
        parse_json(data, "f")


def test_limits_are_inclusive():
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, "f")
    assert parse_json(b"-9223372036854775808", "f") == -(2**63)


@pytest.mark.parametrize("value", [np.float32(1), {1, 2}, {1: 2}, b"a", float("nan")])
def test_what_json_cannot_hold_is_refused(value):
    with pytest.raises(FormatError, match=r"^f: "):
        check_json([value], "f")


def test_a_cycle_is_refused():
    value: list[object] = []
    value.append(value)
    with pytest.raises(FormatError, match="must nest at most 32 deep"):
        dump_json(value, "f")
