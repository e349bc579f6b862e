"""Contenders that need no peer: they run the reference, rightly or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar

import numpy as np

from csbrnn import cells
from csbrnn.bench import Case, Contender, Prepared, UnavailableError
from csbrnn.bench.contender import Array
from csbrnn.cells import Stack
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import Embedding, Features, Linear, PackedModel, Recurrent, Tokens, run_reference


class Fake(Contender):
    """Runs the reference step by step, and spoils its outputs as told.

    ``log`` collects what happens to it: ("open", threads), ("step",), ("close",), in order.
    """

    name: ClassVar[str] = "fake"

    def __init__(
        self,
        variant: str = "right",
        precision: str = "fp32",
        spoil: Callable[[Array], Array] = lambda y: y,
        fails: Exception | None = None,
        log: list[tuple[object, ...]] | None = None,
    ) -> None:
        self.variant, self.precision = variant, precision
        self.spoil, self.fails = spoil, fails
        self.log = [] if log is None else log

    @contextmanager
    def open(self, case: Case, threads: int) -> Iterator[Prepared]:
        if self.fails is not None:
            raise self.fails
        self.log.append(("open", self.variant, threads))
        x = np.zeros_like(case.inputs(1)[0])
        states, y = None, np.zeros(0)

        def set_input(value: Array) -> None:
            x[...] = value

        def step() -> None:
            nonlocal states, y
            self.log.append(("step", self.variant))
            ys, states = run_reference(case.model, x[None], states)
            y = self.spoil(ys[0])

        def reset() -> None:
            nonlocal states
            states = None

        def sequence(xs: Array) -> Callable[[], Array]:
            return lambda: self.spoil(run_reference(case.model, xs)[0])

        yield Prepared(step, set_input, lambda: y, reset, 1024, sequence)
        self.log.append(("close", self.variant))


class Missing(Fake):
    """A peer that is not installed."""

    name: ClassVar[str] = "missing"

    def __init__(self) -> None:
        super().__init__(fails=UnavailableError("missing is not installed"))


def tiny_case(
    cell: cells.Cell = cells.LSTM, *, num_layers: int = 1, pruned: bool = False, name: str = "tiny"
) -> Case:
    """A model of 8 inputs and 16 hidden units."""
    rng = np.random.default_rng(0)
    proj_size = 8 if cell is cells.LSTM_PROJECTION else 0
    stack = Stack(cell, 8, 16, proj_size, num_layers)
    layer = Recurrent("rnn", ("input",), stack, _parameters(stack, rng, pruned))
    return Case(name, PackedModel((layer,), Features(8), "rnn"))


def token_case() -> Case:
    """Embedding, LSTM of two layers, linear output: a language model."""
    rng = np.random.default_rng(0)
    stack = Stack(cells.LSTM, 8, 16, num_layers=2)
    layers = (
        Embedding("embed", ("input",), DenseMatrix(rng.standard_normal((11, 8), np.float32))),
        Recurrent("rnn", ("embed",), stack, _parameters(stack, rng, True)),
        Linear(
            "head",
            ("rnn",),
            DenseMatrix(rng.standard_normal((11, 16), np.float32)),
            rng.standard_normal(11, np.float32),
        ),
    )
    return Case("tokens", PackedModel(layers, Tokens(11), "head"))


def _parameters(stack: Stack, rng: np.random.Generator, pruned: bool) -> dict[str, object]:
    parameters: dict[str, object] = {}
    for name, shape in stack.parameter_shapes().items():
        value = 0.3 * rng.standard_normal(shape, np.float32)
        if len(shape) == 1:
            parameters[name] = value
        elif pruned:
            value[:, ::2] = 0
            parameters[name] = CSBMatrix.from_dense(value, (4, 8), 4)
        else:
            parameters[name] = DenseMatrix(value)
    return parameters
