import random

import pytest

from csbrnn.cells import Node
from csbrnn.cells.equations import MAX_DEPTH, MAX_TEXT, parse_equations
from csbrnn.errors import EquationError


def parse(text):
    return parse_equations(
        text,
        states={"h": "hidden", "p": "proj"},
        vectors={"b": "hidden"},
        matrices={"W": ("hidden", "input"), "U": ("hidden", "hidden"), "R": ("proj", "hidden")},
        where="cell 'test'",
    )


def expression(text):
    """The node that an expression of dimension "hidden" becomes."""
    graph = parse(f"h_next = {text}\np_next = p")
    return graph.nodes[graph.next_states["h"]], graph


NESTED = "(-" * (MAX_DEPTH + 1) + "h" + ")" * (MAX_DEPTH + 1)
ERRORS = {
    # Names.
    "h_next = q": "line 1 ('h_next = q'): unknown name 'q'; known here: R, U, W, b, h, p, x",
    "h_next = r + h\nr = h": "line 1 ('h_next = r + h'): unknown name 'r'",
    "h = b": "'h' already has a meaning; give the result another name",
    "x = b": "'x' already has a meaning",
    "W = b": "'W' already has a meaning",
    "a = b\na = h": "line 2 ('a = h'): 'a' already has a meaning",
    "h_next = cos(h)": "unknown function 'cos'; known: neg, sigmoid, tanh, relu, exp, log, abs, ",
    "h_next = tanh(h, b)": "tanh takes 1 operand(s), got 2",
    "h_next = maximum(h)": "maximum takes 2 operand(s), got 1",
    # Matrices.
    "h_next = W": "matrix 'W' can only stand left of @",
    "h_next = W * x": "matrix 'W' can only stand left of @",
    "h_next = b @ h": "left of @ must stand one of the matrices W, U, R, got `b`",
    "h_next = h * U @ h": "got `h * U` (write r * (W @ h), not r * W @ h)",
    "h_next = U @ U @ h": "got `U @ U`",
    "h_next = (U + U) @ h": "got `U + U`",
    "h_next = 2 @ h": "got `2`",
    # Dimensions.
    "h_next = W @ h": "W takes a vector of dimension 'input', got 'hidden'",
    "h_next = U @ 1": "U takes a vector of dimension 'hidden', got 'scalar'",
    "h_next = h + p": "add needs operands of one length, got ['hidden', 'proj']",
    "h_next = maximum(h, x)": "maximum needs operands of one length, got ['hidden', 'input']",
    # States.
    "p_next = p": "cell 'test': no equation gives `h_next`, the state's next value",
    "h_next = p\np_next = p": "`h_next` must have dimension 'hidden', got 'proj'",
    "h_next = 1\np_next = p": "`h_next` must have dimension 'hidden', got 'scalar'",
    "": "no equation gives `h_next`",
    # Syntax.
    "h_next = ": "not an equation: invalid syntax",
    "h_next = (h": "not an equation: '(' was never closed",
    "h + b": "expected `name = expression`",
    "a = c = h": "expected `name = expression`",
    "a, c = h, b": "expected `name = expression`",
    "a += h": "expected `name = expression`",
    "import os": "expected `name = expression`",
    "a.b = h": "expected `name = expression`",
    "h_next = h ** 2": "`h ** 2` is not understood; equations have numbers, names, + - * / @",
    "h_next = h if b else h": "`h if b else h` is not understood",
    "h_next = +h": "`+h` is not understood",
    "h_next = h.x": "`h.x` is not understood",
    "h_next = tanh(v=h)": "`tanh(v=h)` is not understood",
    "h_next = tanh(*h)": "`*h` is not understood",
    "h_next = (lambda: h)()": "is not understood",
    "h_next = __import__('os')": "`'os'` is not understood",
    "h_next = [h]": "`[h]` is not understood",
    "h_next = 'h'": "`'h'` is not understood",
    "h_next = None * h": "`None` is not understood",
    "h_next = h\0": "not an equation: source code string cannot contain null bytes",
    "h_next = \ud800": "not an equation",
    # Numbers.
    "h_next = True * h": "expected a number, got True",
    "h_next = -True * h": "expected a number, got True",
    "h_next = 1j * h": "expected a number, got 1j",
    "h_next = 1e999 * h": "numbers must be finite",
    f"h_next = 1{'0' * 400} * h": "numbers must be finite",
    f"h_next = 1{'0' * 5000} * h": "not an equation: Exceeds the limit",
    "h_next = h * (1 / 0)": "numbers must be finite; div of 1.0, 0.0 is not",
    "h_next = h * log(-1)": "log of -1.0 is not",
    "h_next = h * exp(1000)": "exp of 1000.0 is not",
    "h_next = h * (1e308 * 10)": "numbers must be finite",
    # Size.
    f"h_next = {NESTED}": f"expressions may nest at most {MAX_DEPTH} deep; name a part of it",
    f"h_next = {'-' * 400}h": f"nest at most {MAX_DEPTH} deep",
    f"h_next = {'-' * 7900}h": "line 1",
    f"h_next = {'(' * 500}h{')' * 500}": "not an equation",
    f"h_next = {'h + ' * 100}h": f"nest at most {MAX_DEPTH} deep",
    f"h_next = {'W @ ' * 1500}h": "line 1",
    f"h_next = ({'U @ ' * 400}h) @ h": "left of @ must stand one of the matrices",
    f"h_next = {'not ' * 400}h": "is not understood",
    f"h_next = h{'.a' * 400}": "is not understood",
    "#" * (MAX_TEXT + 1): f"equations must be at most {MAX_TEXT} characters, got {MAX_TEXT + 1}",
}


@pytest.mark.parametrize("text", ERRORS, ids=lambda text: ascii(text)[1:40])
def test_errors(text):
    with pytest.raises(EquationError) as error:
        parse(text)
    assert ERRORS[text] in str(error.value)
    assert str(error.value).startswith("cell 'test'")
    assert len(str(error.value)) < 700


def test_random_text_is_an_equation_or_an_equation_error():
    pick = random.Random(0)
    pieces = [
        *"xhpbWUR()@+-*/,=\n;#'\\1e.",
        "h_next",
        "p_next",
        " = ",
        "tanh",
        "maximum",
        "\0",
        "é",
    ]
    accepted = 0
    for _ in range(3000):
        text = "".join(pick.choices(pieces, k=pick.randint(1, 20)))
        try:
            parse(f"h_next = b\np_next = p\n{text}")
            accepted += 1
        except EquationError:
            pass
    assert 0 < accepted < 3000


def test_products_and_names():
    node, graph = expression("U @ tanh(h)")
    assert node == Node("product", (1,), name="U", dimension="hidden")
    assert graph.nodes[:2] == (
        Node("state", name="h", dimension="hidden"),
        Node("tanh", (0,), dimension="hidden"),
    )


def test_common_expressions_are_shared():
    _, graph = expression("tanh(h + b) * tanh(h + b)")
    assert [n.op for n in graph.nodes] == ["state", "vector", "add", "tanh", "mul", "state"]


def test_results_have_labels():
    graph = parse("a = tanh(h)\nh_next = a\np_next = R @ a")
    assert graph.labels == {1: "a", 2: "p_next"}
    assert graph.next_states == {"h": 1, "p": 2}


def test_comments_and_blank_lines():
    assert parse("# a comment\n\n  h_next = h  # the same\n\tp_next = p").next_states


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-2", -2),
        ("1 - 3 * 2", -5),
        ("maximum(1, 2) / 4", 0.5),
        ("minimum(1, 2)", 1),
        ("sigmoid(0) + tanh(0) + relu(-1)", 0.5),
        ("exp(0) + log(1) + abs(-3) - neg(1)", 5),
    ],
)
def test_numbers_are_computed_when_read(text, value):
    node, graph = expression(f"h * ({text})")
    assert graph.nodes[node.args[1]] == Node("constant", value=value)


def test_zero_has_a_sign():
    _, graph = expression("minimum(h * 0.0, h * -0.0)")
    values = [node.value for node in graph.nodes if node.op == "constant"]
    assert sorted(map(str, values)) == ["-0.0", "0.0"]
