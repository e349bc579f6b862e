import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.cells import CELLS, LSTM, LSTM_PROJECTION, Cell, Parameter, gated_parameters
from csbrnn.errors import EquationError

PROPERTY = settings(max_examples=300, deadline=None, derandomize=True)


def cell(**options):
    plain = {
        "name": "test",
        "states": {"h": "hidden"},
        "parameters": (Parameter("w", ("W",), "hidden", "input"),),
        "equations": "h_next = W @ x",
        "output": "h",
    }
    return Cell(**(plain | options))


@pytest.mark.parametrize("name", CELLS)
def test_round_trip(name):
    again = Cell.from_dict(json.loads(json.dumps(CELLS[name].to_dict())))
    assert again == CELLS[name]
    assert hash(again) == hash(CELLS[name])
    assert again.graph == CELLS[name].graph


def test_order_of_states_survives():
    assert list(Cell.from_dict(LSTM.to_dict()).states) == ["h", "c"]


def test_descriptions():
    assert [p.name for p in LSTM.matrices] == ["weight_ih", "weight_hh"]
    assert LSTM.dimensions == {"input", "hidden"}
    assert LSTM_PROJECTION.dimensions == {"input", "hidden", "proj"}
    assert LSTM_PROJECTION.output_dimension == "proj"
    sizes = {"input": 3, "hidden": 5, "proj": 2}
    assert [p.shape(sizes) for p in LSTM_PROJECTION.parameters] == [
        (20, 3),
        (20, 2),
        (20,),
        (20,),
        (2, 5),
    ]


def test_gated_parameters_without_bias():
    assert [p.name for p in gated_parameters("a", bias=())] == ["weight_ih", "weight_hh"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"states": {}}, "the output must be one of the states [], got 'h'"),
        ({"output": "c"}, "the output must be one of the states ['h'], got 'c'"),
        ({"states": {"h": "tall"}}, "dimensions are ('input', 'hidden', 'proj'), got 'tall'"),
        ({"states": {"h": "input"}}, "a state's dimension is 'hidden' or 'proj'"),
        ({"states": {"x": "hidden"}, "output": "x"}, "must differ, and not be 'x'"),
        ({"states": {"h": "hidden", "W": "hidden"}}, "names of states and parts must differ"),
        ({"states": {"h": "hidden", "a b": "hidden"}}, "'a b' is not usable as a name"),
        ({"states": {"h": "hidden", "if": "hidden"}}, "'if' is not usable as a name"),
        ({"states": {"h": "hidden", "a" * 65: "hidden"}}, "is not usable as a name"),
        ({"parameters": (Parameter("w", ("W",), "", "input"),)}, "dimensions are"),
        ({"parameters": (Parameter("w", ("W",), "hidden", "wide"),)}, "got 'wide'"),
        (
            {"parameters": tuple(Parameter("w", (p,), "hidden", "input") for p in "WV")},
            "two parameters share a name",
        ),
        (
            {"parameters": (Parameter("w", tuple(f"W{k}" for k in range(64)), "hidden", "input"),)},
            "at most 64 states and parts, got 65",
        ),
        ({"equations": "h_next = V @ x"}, "cell 'test', line 1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(EquationError) as error:
        cell(**options)
    assert message in str(error.value)


def without(key):
    return {k: v for k, v in LSTM.to_dict().items() if k != key}


PARAMETER = LSTM.to_dict()["parameters"][0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "cell: expected an object, got NoneType"),
        ([], "cell: expected an object, got list"),
        (without("name"), "cell: 'name' must be a string, got None"),
        (without("equations"), "cell: 'equations' must be a string, got None"),
        (without("states"), "'states' must be an object and 'parameters' a list"),
        (without("parameters"), "'states' must be an object and 'parameters' a list"),
        (LSTM.to_dict() | {"more": 1}, "cell: unknown key(s) ['more']"),
        (LSTM.to_dict() | {"states": {"h": ["hidden"]}}, "dimensions are"),
        (LSTM.to_dict() | {"states": {"h": {}}}, "dimensions are"),
        (LSTM.to_dict() | {"parameters": [3]}, "cell parameter: expected an object, got int"),
        (LSTM.to_dict() | {"parameters": [PARAMETER] * 65}, "at most 64 parameters, got 65"),
        (LSTM.to_dict() | {"parameters": [PARAMETER | {"parts": []}]}, "'parts' must be a list"),
        (LSTM.to_dict() | {"parameters": [PARAMETER | {"parts": [1]}]}, "'parts' must be a list"),
        (
            LSTM.to_dict() | {"parameters": [PARAMETER | {"parts": ["a"] * 65}]},
            "at most 64 parts, got 65",
        ),
        (
            LSTM.to_dict() | {"parameters": [PARAMETER | {"dtype": "int4"}]},
            "cell parameter: unknown key(s) ['dtype']",
        ),
        (LSTM.to_dict() | {"parameters": [PARAMETER | {"rows": 4}]}, "'rows' must be a string"),
        (LSTM.to_dict() | {"name": "a" * 100_000, "output": 1}, "'output' must be a string"),
    ],
)
def test_hostile_dicts(data, message):
    with pytest.raises(EquationError) as error:
        Cell.from_dict(data)
    assert message in str(error.value)


KEYS = ("name", "states", "parameters", "equations", "output", "parts", "rows", "columns")
TEXTS = ("hidden", "input", "proj", "x", "h", "W", "", "h_next", "h_next = h", "\0", "\ud800")
WORDS = st.sampled_from([*KEYS, *TEXTS])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)


@PROPERTY
@given(data=JSON)
def test_any_json_is_a_cell_or_an_equation_error(data):
    with suppress(EquationError):
        Cell.from_dict(data)


@PROPERTY
@given(
    name=st.sampled_from(sorted(CELLS)),
    path=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    value=JSON,
)
def test_a_damaged_cell_is_a_cell_or_an_equation_error(name, path, value):
    data = json.loads(json.dumps(CELLS[name].to_dict()))
    place = data
    for step in path:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[step % len(keys)]
        if step == path[-1] or not isinstance(place[key], dict | list) or not place[key]:
            place[key] = value
            break
        place = place[key]
    try:
        again = Cell.from_dict(data)
    except EquationError:
        return
    assert Cell.from_dict(again.to_dict()) == again


@PROPERTY
@given(equations=st.text(max_size=40) | st.text("hWx@+-()=_1 \n", max_size=40))
def test_any_text_is_equations_or_an_equation_error(equations):
    with suppress(EquationError):
        cell(equations="h_next = h\n" + equations)


def test_equal_cells_are_one_key():
    assert len({cell(), cell(), LSTM}) == 2
