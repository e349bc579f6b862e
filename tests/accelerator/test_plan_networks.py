"""Networks and cells in which values are shared, chained and joined: right, or refused."""

import numpy as np
import pytest

from csbrnn.accelerator import fixed_step, run_fixed
from csbrnn.accelerator.plan import plan
from csbrnn.cells import CELLS, LSTM, Cell, Parameter, Stack
from csbrnn.compiler import lower, run_program
from csbrnn.errors import EquationError, UnsupportedModelError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Activation, Combine, Features, Linear, PackedModel, Recurrent
from csbrnn.model.graph import NAME

from .models import ARCH

SIZE = 3


def normal(rng, *shape):
    return rng.normal(0, 0.4, shape).astype(np.float32)


def recurrent(rng, name, source, stack):
    shapes = stack.parameter_shapes().items()
    return Recurrent(
        name,
        (source,),
        stack,
        {
            key: DenseMatrix(normal(rng, *shape)) if len(shape) == 2 else normal(rng, *shape)
            for key, shape in shapes
        },
    )


def lstm(rng, name, source, inputs, hidden, proj_size=0):
    cell = CELLS["lstm_projection"] if proj_size else LSTM
    return recurrent(rng, name, source, Stack(cell, inputs, hidden, proj_size=proj_size))


def linear(rng, name, source, inputs, outputs):
    weight = DenseMatrix(normal(rng, outputs, inputs))
    return Linear(name, (source,), weight, normal(rng, outputs))


def agree(model, rng):
    xs = rng.normal(0, 1, (6, SIZE)).clip(-4, 4).astype(np.float32)
    expected = run_program(lower(model), xs)[0]
    got = run_fixed(fixed_step(model, ARCH, input_range=4), ARCH, xs)
    # Six steps of rounding errors of 2^-9 (13-bit tables, 12-bit x), sums of up to 16 of them.
    np.testing.assert_allclose(got, expected, atol=0.02 * max(1, float(np.abs(expected).max())))
    assert np.abs(expected).max() > 0.05  # zeros would not agree


NETWORKS = {
    "swish": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8),
        linear(r, "l", "rnn", 8, 5),
        Activation("s", ("l",), "sigmoid"),
        Combine("out", ("l", "s"), "multiply"),
    ],
    "a sum and its tanh, joined": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8),
        linear(r, "l", "rnn", 8, 5),
        Activation("s", ("l",), "tanh"),
        Combine("out", ("l", "s"), "concatenate"),
    ],
    "joined, then multiplied": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8),
        linear(r, "l", "rnn", 8, 5),
        Activation("s", ("l",), "tanh"),
        Combine("c", ("l", "s"), "concatenate"),
        linear(r, "out", "c", 10, 4),
    ],
    "tanh of two layers joined": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8),
        lstm(r, "rnn2", "input", SIZE, 4),
        Combine("c", ("rnn", "rnn2"), "concatenate"),
        Activation("out", ("c",), "tanh"),
    ],
    "relu of two layers joined, then multiplied": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8),
        lstm(r, "rnn2", "rnn", 8, 4),
        Combine("c", ("rnn", "rnn2"), "concatenate"),
        Activation("t", ("c",), "relu"),
        linear(r, "out", "t", 12, 4),
    ],
    "past an LSTM": lambda r: [
        linear(r, "a", "input", SIZE, 8),
        Activation("t", ("a",), "relu"),
        lstm(r, "rnn", "t", 8, 8),
        Combine("out", ("a", "rnn"), "add"),
    ],
    "a projected LSTM, activated": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8, proj_size=6),
        Activation("t", ("rnn",), "relu"),
        linear(r, "out", "t", 6, 4),
    ],
    "past what a projected LSTM is added to": lambda r: [
        linear(r, "skip", "input", SIZE, 6),
        lstm(r, "rnn", "input", SIZE, 8, proj_size=6),
        Combine("c", ("rnn", "skip"), "add"),
        linear(r, "out", "c", 6, 4),
    ],
    "tanh of a projected LSTM": lambda r: [
        lstm(r, "rnn", "input", SIZE, 8, proj_size=6),
        Activation("out", ("rnn",), "tanh"),
    ],
    "layers with names as for scratch": lambda r: [
        linear(r, "t1", "input", SIZE, 8),
        lstm(r, "rnn", "t1", 8, 8),
        Combine("c", ("t1", "rnn"), "concatenate"),
        linear(r, "out", "c", 16, 4),
    ],
    "a sum with itself": lambda r: [
        linear(r, "a", "input", SIZE, 8),
        Combine("out", ("a", "a", "a"), "add"),
    ],
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_values_that_are_read_twice_or_in_parts(make):
    rng = np.random.default_rng(0)
    agree(PackedModel(tuple(make(rng)), Features(SIZE), "out"), rng)


def cell_of(equations, states):
    parameters = (
        Parameter("weight_ih", ("A0", "A1"), "hidden", "input"),
        Parameter("weight_hh", ("H0", "H1"), "hidden", "hidden"),
        Parameter("bias", ("b0", "b1"), "hidden"),
    )
    return Cell("own", dict.fromkeys(states, "hidden"), parameters, equations)


def model_of(rng, equations, states=("h",)):
    stack = Stack(cell_of(equations, states), SIZE, 6)
    return PackedModel((recurrent(rng, "rnn", "input", stack),), Features(SIZE), "rnn")


@pytest.mark.parametrize(
    "equations",
    [
        # A sum that two instructions read.
        "s = A0 @ x + b0\nr = sigmoid(s)\nn = tanh(A1 @ x + H0 @ (r * h))\nh_next = n * tanh(s)",
        # Products of products: weights of low rank.
        "h_next = tanh(A1 @ x + H1 @ (H0 @ h))",
        "h_next = tanh(A1 @ x + H0 @ (A0 @ x) + H1 @ h)",
        "s = A0 @ x\nh_next = tanh(A1 @ x + H0 @ s + H1 @ h)",
        # One product in two gates.
        "a = A0 @ x\nz = sigmoid(a + H0 @ h)\nh_next = (1 - z) * h + z * tanh(a + H1 @ (z * h))",
    ],
)
def test_sums_that_are_shared_or_chained(equations):
    rng = np.random.default_rng(0)
    agree(model_of(rng, equations), rng)


def test_what_the_planner_adds_has_names_that_no_layer_can_have():
    program = lower(model_of(np.random.default_rng(0), "h_next = tanh(A0 @ x) * (2 - H0 @ h)"))
    added = {
        part.vector
        for stage in plan(program).stages
        for o in stage.operations
        for part in (o.d, *o.reads)
        if part.vector not in program.vectors
    }
    assert added == {"scratch/1", "number/2.0/6"}
    assert not any(NAME.fullmatch(name) for name in added)


def test_numbers_of_equal_leading_digits_are_not_one():
    program = lower(
        model_of(
            np.random.default_rng(0),
            "h_next = (sigmoid(A0 @ x + H0 @ h) + 1.0000002) * 1.0000001",
        )
    )
    assert set(plan(program).numbers.values()) == {1.0000001, 1.0000002}


def test_states_that_take_each_other_s_place():
    rng = np.random.default_rng(0)
    agree(model_of(rng, "h_next = c\nc_next = tanh(A0 @ x + H0 @ h)", ("h", "c")), rng)


def test_a_state_that_never_changes_is_refused():
    model = model_of(
        np.random.default_rng(0), "h_next = h\nc_next = tanh(A0 @ x + H0 @ h)", ("h", "c")
    )
    with pytest.raises(UnsupportedModelError, match=r"state 'rnn\.h_l0' never changes"):
        fixed_step(model, ARCH)


def expression(rng, names, depth):
    """A random expression of products, states and biases."""
    kind = rng.random()
    if depth == 0 or kind < 0.2:
        product = f"{rng.choice(['A0', 'A1'])} @ x"
        of_state = f"{rng.choice(['H0', 'H1'])} @ {rng.choice(names)}"
        return str(rng.choice([product, of_state, rng.choice(names), "b0", "b1"]))

    def inner():
        return expression(rng, names, depth - 1)

    if kind < 0.6:
        return f"({inner()} {rng.choice(['+', '-'])} {inner()})"
    if kind < 0.7:
        return f"tanh({inner()}) * sigmoid({inner()})"
    if kind < 0.8:
        return f"H1 @ tanh({inner()})"
    return f"{rng.choice(['sigmoid', 'tanh', 'relu'])}({inner()})"


def test_random_cells_are_right_or_refused():
    done = refused = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        names, lines = ["h", "c"], []
        for name in ("s", "t"):
            lines.append(f"{name} = {expression(rng, names, 2)}")
            names.append(name)
        for state in ("h", "c"):
            lines.append(f"{state}_next = tanh({expression(rng, names, 2)}) * {rng.choice(names)}")
        try:
            model = model_of(rng, "\n".join(lines), ("h", "c"))
        except EquationError:
            continue
        try:
            fixed_step(model, ARCH)
        except UnsupportedModelError:
            refused += 1
            continue
        xs = rng.normal(0, 1, (4, SIZE)).clip(-4, 4).astype(np.float32)
        expected = run_program(lower(model), xs)[0]
        got = run_fixed(fixed_step(model, ARCH, input_range=4), ARCH, xs)
        np.testing.assert_allclose(
            got, expected, atol=0.05 * max(1, float(np.abs(expected).max())), err_msg=str(seed)
        )
        done += 1
    assert done > 60, (done, refused)
