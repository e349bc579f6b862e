"""`Case`: a named model to measure; a given one, or the papers' sizes with random weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.random_csb import random_csb
from csbrnn.cells import GRU, LSTM, Stack
from csbrnn.errors import ArgumentError
from csbrnn.formats import Candidate, CSBMatrix, DenseMatrix, Matrix
from csbrnn.model import Embedding, Features, Layer, Linear, PackedModel, Recurrent, verify

__all__ = ["CASES", "DEFAULT_LAYOUT", "Case", "generate", "parse_layout"]

DEFAULT_LAYOUT: Final = "block=16x64 row_group=16"
"""Stripes of 16 rows: what the engine's tiles are made for (PEERS.md, "groups of 16")."""

FILL: Final = np.float32(1e-12)
"""A weight that changes no result in fp32, but is not zero; its products are not subnormal."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model to measure.

    Attributes:
        name: How results name it.
        model: The model as it would be deployed; it must be causal, for it is run step by step.

    Raises:
        ArgumentError: The model is bidirectional.
        UnsupportedModelError: The model is not valid.
    """

    name: str
    model: PackedModel

    def __post_init__(self) -> None:
        verify(self.model)
        if not self.model.causal:
            raise ArgumentError(
                f"case {self.name!r}: the model must be causal to be run step by step, but it is "
                "bidirectional"
            )

    @cached_property
    def dense(self) -> PackedModel:
        """The same weights with every matrix stored dense, pruned zeros included."""
        return _mapped(self.model, lambda matrix: DenseMatrix(matrix.to_dense()))

    @cached_property
    def filled(self) -> PackedModel:
        """The dense twin with `FILL` for every zero: csbrnn leaves zeros out wherever they are."""
        return _mapped(self.model, lambda matrix: DenseMatrix(_filled(matrix.to_dense())))

    @cached_property
    def layout(self) -> str:
        """How the pruned matrices are stored: ``"block=16x64 row_group=16"``, or ``"dense"``."""
        layouts = {
            layout_text(matrix)
            for matrix in self.model.matrices.values()
            if isinstance(matrix, CSBMatrix)
        }
        return ", ".join(sorted(layouts)) or "dense"

    @property
    def is_dense(self) -> bool:
        """Whether no matrix is stored pruned."""
        return self.layout == "dense"

    def inputs(self, steps: int, seed: int = 0) -> NDArray[Any]:
        """Random inputs: standard normal features, or uniform tokens.

        Shape:
            returns: (steps, input size) float32, or (steps,) int32 for tokens.
        """
        rng = np.random.default_rng(seed)
        signal = self.model.input
        if isinstance(signal, Features):
            return rng.standard_normal((steps, signal.size), np.float32)
        return rng.integers(0, signal.vocabulary, steps, dtype=np.int32)


@dataclass(frozen=True)
class _Shape:
    stack: Stack
    pruning_rate: float


_SHAPES: Final[Mapping[str, _Shape]] = {
    # CSB-RNN (Shi et al., 2020), Table 1: speech (TIMIT) and translation (PTB) at no loss.
    "sr": _Shape(Stack(LSTM, 153, 1024, num_layers=2), 13.5),
    "mt": _Shape(Stack(LSTM, 1500, 1500, num_layers=2), 12.0),
    # PEERS.md: what users run on small machines; GRUs stand a little less pruning.
    "gru512": _Shape(Stack(GRU, 512, 512, num_layers=2), 8.0),
    # Where the overhead of a call is all there is; never worth pruning.
    "small16": _Shape(Stack(LSTM, 16, 16), 1.0),
    "small64": _Shape(Stack(LSTM, 64, 64), 1.0),
}

CASES: Final = tuple(_SHAPES)
"""Names that `generate` takes."""


def generate(name: str, layout: str = DEFAULT_LAYOUT, seed: int = 0) -> Case:
    """Makes one of `CASES` with random weights of the given layout at its paper's pruning rate.

    Values are Gaussian, scaled so that a gate's sum has unit variance; how much each block keeps
    is spread as pruning spreads it (see `random_csb`). Speed depends on sizes and spread alone,
    so this measures what a trained model of that layout would.

    Args:
        name: One of `CASES`.
        layout: As `parse_layout` reads it; a case that is not pruned is dense whatever is asked.
        seed: Of the weights.

    Raises:
        ArgumentError: The name or the layout is not known.
    """
    if name not in _SHAPES:
        raise ArgumentError(f"a case must be one of {', '.join(CASES)}, not {name!r}")
    stack, pruning_rate = _SHAPES[name].stack, _SHAPES[name].pruning_rate
    candidate = parse_layout(layout)
    if pruning_rate == 1:
        candidate = None
    rng = np.random.default_rng(seed)
    parameters: dict[str, Any] = {}
    for parameter, shape in stack.parameter_shapes().items():
        if len(shape) == 1:
            parameters[parameter] = 0.1 * rng.standard_normal(shape, np.float32)
        else:
            parameters[parameter] = _random_matrix(shape, candidate, pruning_rate, rng)
    layer = Recurrent("rnn", ("input",), stack, parameters)
    return Case(name, PackedModel((layer,), Features(stack.input_size), "rnn"))


def parse_layout(text: str) -> Candidate | None:
    """Reads ``"block=16x64 row_group=16"``; None for ``"dense"``.

    Raises:
        ArgumentError: The text reads otherwise, or the row group does not divide the block.
    """
    if text.strip() == "dense":
        return None
    match = re.fullmatch(r"\s*block=(\d+)x(\d+)(?:\s+row_group=(\d+))?\s*", text)
    if match is None:
        raise ArgumentError(
            f"a layout must read 'dense' or 'block=16x64 row_group=16', not {text!r}"
        )
    rows, cols, row_group = (int(size) for size in match.groups(default="1"))
    if not rows or not cols or not row_group or rows % row_group:
        raise ArgumentError(
            "a layout's sizes must be positive, and its row_group must divide its block's rows, "
            f"which does not hold for {text!r}"
        )
    return Candidate((rows, cols), row_group)


def layout_text(matrix: CSBMatrix) -> str:
    """The layout of a matrix, as `parse_layout` reads it."""
    rows, cols = matrix.block
    return f"block={rows}x{cols} row_group={matrix.row_group}"


def _random_matrix(
    shape: Sequence[int], candidate: Candidate | None, pruning_rate: float, rng: np.random.Generator
) -> Matrix:
    rows, cols = shape
    # Half of unit variance each for the products with x and with h.
    scale = np.float32(np.sqrt(0.5 * pruning_rate / cols))
    weight = scale * rng.standard_normal((rows, cols), np.float32)
    if candidate is None:
        return DenseMatrix(weight)
    block, row_group = candidate
    weight *= random_csb((rows, cols), block, row_group, 1 / pruning_rate, rng)
    return CSBMatrix.from_dense(weight, block, row_group)


def _filled(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    weight[weight == 0] = FILL
    return weight


def _mapped(model: PackedModel, change: Callable[[Matrix], Matrix]) -> PackedModel:
    """The model with every matrix changed."""

    def mapped(layer: Layer) -> Layer:
        if isinstance(layer, Recurrent):
            parameters = {
                name: change(value) if isinstance(value, Matrix) else value
                for name, value in layer.parameters.items()
            }
            return replace(layer, parameters=parameters)
        if isinstance(layer, Linear | Embedding):
            return replace(layer, weight=change(layer.weight))
        return layer

    return replace(model, layers=tuple(mapped(layer) for layer in model.layers))
