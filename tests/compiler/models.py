"""Models and random cells for the compiler's tests."""

import numpy as np

from csbrnn.cells import Cell, Parameter, Stack
from csbrnn.compiler import lower, run_program
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, PackedModel, Recurrent, Tokens, run_reference


def values(rng, shape):
    """Float32 in [-1/2, 1/2], on a grid on which sums of a few vectors are exact in float32."""
    return (rng.integers(-128, 129, shape) / 256).astype(np.float32)


def matrix(rng, rows, columns):
    return DenseMatrix(values(rng, (rows, columns)))


def recurrent(rng, name, source, stack, *, missing=()):
    """A recurrent layer with random parameters, without those named in ``missing``."""
    parameters = {
        key: matrix(rng, *shape) if len(shape) == 2 else values(rng, shape)
        for key, shape in stack.parameter_shapes().items()
        if key.split("_l")[0] not in missing
    }
    return Recurrent(name, (source,), stack, parameters)


def stack_of(cell, **options):
    sizes = {"input_size": 5, "hidden_size": 4} | options
    return Stack(cell, proj_size=3 if "proj" in cell.dimensions else 0, **sizes)


def single(rng, cell, *, missing=(), **options):
    """A model of one recurrent layer."""
    stack = stack_of(cell, **options)
    layer = recurrent(rng, "rnn", "input", stack, missing=missing)
    return PackedModel((layer,), Features(stack.input_size), "rnn")


def sequence(rng, model, steps=4, batch=()):
    """An input sequence."""
    if isinstance(model.input, Tokens):
        return rng.integers(0, model.input.vocabulary, (steps, *batch))
    return rng.uniform(-1, 1, (steps, *batch, model.input.size))


def random_states(rng, model, batch=()):
    return {
        layer.name: {
            state: rng.uniform(-1, 1, (count, *batch, length))
            for state, (count, length) in layer.stack.state_shapes().items()
        }
        for layer in model.layers
        if isinstance(layer, Recurrent)
    }


def flat(states):
    """The reference's states under the names of `Program.states`."""
    return {f"{layer}.{s}": v for layer, named in states.items() for s, v in named.items()}


def assert_lowered_right(model, rng, *, steps=4, batch=()):
    """Compares ``lower(model)``, fused and not, with `run_reference`; returns the fused program.

    1e-12: float64 sums in another order; values are of order one, sums have a few dozen terms.
    """
    xs, states = sequence(rng, model, steps, batch), random_states(rng, model, batch)
    expected, states_after = run_reference(model, xs, states)
    for fuse in (False, True):
        program = lower(model, fuse=fuse)
        got, after = run_program(program, xs, flat(states))
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
        assert after.keys() == flat(states_after).keys()
        for name, value in flat(states_after).items():
            np.testing.assert_allclose(after[name], value, rtol=1e-12, atol=1e-12)
    return program


def make_cell(equations, *, states=None, matrices=None, vectors=None, output="h", name="custom"):
    """A cell with parameters given as name -> (parts, rows[, columns])."""
    parameters = {
        "weight_ih": (("W", "V"), "hidden", "input"),
        "weight_hh": (("U", "R"), "hidden", "hidden"),
        **(matrices or {}),
        "bias": (("b", "d"), "hidden", ""),
        **(vectors or {}),
    }
    return Cell(
        name=name,
        states=states or {"h": "hidden", "c": "hidden"},
        parameters=tuple(Parameter(n, *rest) for n, rest in parameters.items()),
        equations=equations,
        output=output,
    )


class RandomCell:
    """Writes a random legal cell; ``random`` is a `random.Random`.

    Functions without a bound on their slope (division, log, exp) get bounded operands, so that
    rounding errors stay near 1e-16.
    """

    DIMENSIONS = ("input", "hidden", "proj")

    def __init__(self, random):
        self._random = random
        self._matrices, self._vectors, self._values = {}, {}, {}

    def cell(self):
        pick = self._random
        states = {f"s{k}": pick.choice(("hidden", "proj")) for k in range(pick.randint(1, 3))}
        parameters = []
        for k in range(pick.randint(1, 4)):
            rows = pick.choice(self.DIMENSIONS)
            columns = pick.choice((*self.DIMENSIONS, ""))
            parts = tuple(f"p{k}_{i}" for i in range(pick.randint(1, 3)))
            target = self._matrices if columns else self._vectors
            target |= dict.fromkeys(parts, (rows, columns) if columns else rows)
            parameters.append(Parameter(f"param{k}", parts, rows, columns))
        self._values = {"x": "input", **states}
        lines = []
        for k in range(pick.randint(0, 4)):
            dimension = pick.choice(self.DIMENSIONS)
            if self._leaves(dimension):
                lines.append(f"t{k} = {self._expression(dimension, 3)}")
                self._values[f"t{k}"] = dimension
        for state, dimension in states.items():
            leaf = pick.random() < 0.2
            bounded = f"tanh({self._expression(dimension, 3)})"
            text = pick.choice(self._leaves(dimension)) if leaf else bounded
            lines.append(f"{state}_next = {text}")
        return Cell("random", states, tuple(parameters), "\n".join(lines), output="s0")

    def _leaves(self, dimension):
        named = {**self._values, **self._vectors}
        return [name for name, d in named.items() if d == dimension]

    def _expression(self, dimension, depth):
        pick = self._random
        leaves = self._leaves(dimension)
        products = [
            (name, columns)
            for name, (rows, columns) in self._matrices.items()
            if rows == dimension and self._leaves(columns)
        ]
        if depth == 0:
            return pick.choice(leaves)

        def inner():
            return self._expression(dimension, depth - 1)

        def operand():
            return pick.choice(("0.5", "(1 - 3)", "2")) if pick.random() < 0.15 else inner()

        kind = pick.random()
        if products and kind < 0.4:
            name, columns = pick.choice(products)
            product = f"({name} @ ({self._expression(columns, depth - 1)}))"
            return f"({product} + {operand()})" if pick.random() < 0.6 else product
        if kind < 0.7:
            operation = pick.choice("++-*")
            return f"({inner()} {operation} {operand()})"
        if kind < 0.8:
            return f"{pick.choice(('maximum', 'minimum'))}({inner()}, {operand()})"
        if kind < 0.95:
            function = pick.choice(("sigmoid", "tanh", "relu", "abs", "-"))
            return f"{function}({inner()})"
        return pick.choice(
            (
                f"({inner()} / (2 + tanh({inner()})))",
                f"log(2 + tanh({inner()}))",
                f"exp(tanh({inner()}))",
            )
        )
