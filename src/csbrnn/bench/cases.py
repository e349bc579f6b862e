"""`Case`: a named model to measure; a given one, or the papers' sizes with random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.bench.layouts import DENSE, Layout, layout_of, parse_layout
from csbrnn.bench.random_banks import random_banks
from csbrnn.cells import GRU, LSTM, Stack
from csbrnn.compiler import Program
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix, DenseMatrix, Matrix
from csbrnn.model import Features, PackedModel, Recurrent, map_matrices, quantize, verify

__all__ = [
    "CASES",
    "DEFAULT_LAYOUT",
    "SHAPES",
    "Case",
    "Shape",
    "generate",
    "random_bank_matrix",
    "random_inputs",
    "random_matrix",
    "random_model",
    "random_network",
    "random_weight",
]

DEFAULT_LAYOUT: Final = "block=16x64 row_group=16"
"""Stripes of 16 rows: what the engine's tiles are made for."""

STEP: Final = np.float32(1 / 127)
"""Of a row's largest weight: the smallest that int8 still tells from zero."""

_MOST_INPUT: Final = 4.0
"""Standard deviations. Ours."""


@dataclass(frozen=True, eq=False)
class Case:
    """A model to measure, and the same network in other layouts.

    Attributes:
        name: How results name it.
        model: The model as it would be deployed; it must be causal, for it is run step by step.
        layouts: Text of a layout -> a model of the same sizes in it, each with weights of its own;
            ``model`` alone if left out.

    Raises:
        ArgumentError: A model is bidirectional.
        UnsupportedModelError: A model is not valid.
    """

    name: str
    model: PackedModel
    layouts: Mapping[str, PackedModel] = field(default_factory=dict)
    _deployed: dict[tuple[str, str, bool], PackedModel] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if not self.layouts:
            object.__setattr__(self, "layouts", {_layout_text(self.model): self.model})
        for model in self.layouts.values():
            verify(model)
            if not model.causal:
                raise ArgumentError(
                    f"case {self.name!r}: the model must be causal to be run step by step, but it "
                    "is bidirectional"
                )

    @cached_property
    def dense(self) -> PackedModel:
        """`model` in fp32 with every matrix stored dense, zeros included: what peers run."""
        return _mapped(self.model, lambda matrix: DenseMatrix(matrix.to_dense()))

    @cached_property
    def layout(self) -> str:
        """How `model` is stored: ``"block=16x64 row_group=16"``, or ``"dense"``."""
        return next(text for text, model in self.layouts.items() if model is self.model)

    @property
    def is_dense(self) -> bool:
        """Whether one of the layouts prunes nothing."""
        return DENSE in self.layouts

    def deployed(
        self, precision: str, layout: str | None = None, *, unpruned: bool = False
    ) -> PackedModel:
        """The model in a precision and a layout; asked again, the same object.

        Args:
            precision: "fp32", "bf16" or "int8".
            layout: One of `layouts`; that of `model` if left out.
            unpruned: Fill every zero with a weight so small that it changes little, yet is stored
                and multiplied in any precision: csbrnn leaves zeros out wherever they are.
        """
        key = (precision, self.layout if layout is None else layout, unpruned)
        if key not in self._deployed:
            model = self.layouts[key[1]]
            if unpruned:
                model = _mapped(model, lambda matrix: DenseMatrix(_filled(matrix.to_dense())))
            # What came quantized is not rounded again unless another precision is asked for.
            same = model.precision == precision
            self._deployed[key] = model if same else quantize(model, precision)
        return self._deployed[key]

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
class Shape:
    """A network without weights.

    Attributes:
        stack: Its layers.
        pruning_rate: At no loss, by the paper; 1 for dense.
    """

    stack: Stack
    pruning_rate: float


SHAPES: Final[Mapping[str, Shape]] = {
    # CSB-RNN (Shi et al., 2020), Table 1: speech (TIMIT) and translation (PTB) at no loss.
    "sr": Shape(Stack(LSTM, 153, 1024, num_layers=2), 13.5),
    "mt": Shape(Stack(LSTM, 1500, 1500, num_layers=2), 12.0),
    # Ours: what users run on small machines; GRUs stand a little less pruning.
    "gru512": Shape(Stack(GRU, 512, 512, num_layers=2), 8.0),
    # Where the overhead of a call is all there is; never worth pruning.
    "small16": Shape(Stack(LSTM, 16, 16), 1.0),
    "small64": Shape(Stack(LSTM, 64, 64), 1.0),
}

CASES: Final = tuple(SHAPES)
"""Names that `generate` takes."""


def generate(name: str, layout: str | Sequence[str] = DEFAULT_LAYOUT, seed: int = 0) -> Case:
    """Makes one of `CASES` with random weights at its paper's pruning rate.

    Values are Gaussian, scaled so that a gate's sum has unit variance; how much each block keeps
    is spread as pruning spreads it (see `random_csb`). Speed depends on sizes and spread alone,
    so this measures what a trained model of that layout would.

    Args:
        name: One of `CASES`.
        layout: One or several, as `parse_layout` reads them: one model each, the first being what
            peers run unpruned. A case that is not pruned is dense whatever is asked.
        seed: Of the weights.

    Raises:
        ArgumentError: The name or a layout is not known, or there is no layout.
    """
    if name not in SHAPES:
        raise ArgumentError(f"a case must be one of {', '.join(CASES)}, not {name!r}")
    texts = (layout,) if isinstance(layout, str) else tuple(layout)
    if not texts:
        raise ArgumentError("a case must have at least one layout")
    shape, models = SHAPES[name], dict[str, PackedModel]()
    for parsed in map(parse_layout, texts):
        chosen = None if shape.pruning_rate == 1 else parsed
        text = DENSE if chosen is None else str(chosen)
        if text not in models:
            models[text] = random_model(shape.stack, chosen, shape.pruning_rate, seed)
    return Case(name, next(iter(models.values())), models)


def random_model(
    stack: Stack, layout: Layout | None, pruning_rate: float, seed: int = 0
) -> PackedModel:
    """Makes a model of one recurrent layer, its matrices pruned to a layout; dense if that is None.

    How much each block keeps is as unequal as pruning leaves it.
    """
    matrix = partial(random_matrix, layout=layout, pruning_rate=pruning_rate)
    return random_network(stack, matrix, seed)


def random_network(
    stack: Stack,
    matrix: Callable[[tuple[int, int], np.random.Generator], Matrix],
    seed: int = 0,
) -> PackedModel:
    """Makes a model of one recurrent layer with random biases and matrices.

    Args:
        stack: The layer's cells.
        matrix: Draws a matrix of a shape.
        seed: Of all.
    """
    rng = np.random.default_rng(seed)
    parameters = dict[str, Any]()
    for name, size in stack.parameter_shapes().items():
        if len(size) == 1:
            parameters[name] = 0.1 * rng.standard_normal(size, np.float32)
        else:
            parameters[name] = matrix((size[0], size[1]), rng)
    layer = Recurrent("rnn", ("input",), stack, parameters)
    return PackedModel((layer,), Features(stack.input_size), "rnn")


def random_weight(
    shape: tuple[int, int], pruning_rate: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draws Gaussian weights, so large that a gate's sum has unit variance once they are pruned.

    Shape:
        returns: ``shape``, fp32, nothing pruned yet
    """
    # Half of unit variance each for the products with x and with h.
    scale = np.float32(np.sqrt(0.5 * pruning_rate / shape[1]))
    return scale * rng.standard_normal(shape, np.float32)


def random_matrix(
    shape: tuple[int, int], rng: np.random.Generator, layout: Layout | None, pruning_rate: float
) -> Matrix:
    """Draws a matrix pruned to a layout; a dense one if that is None."""
    if layout is None:
        return DenseMatrix(random_weight(shape, 1.0, rng))
    weight = random_weight(shape, pruning_rate, rng)
    weight *= layout.random_mask(shape, 1 / pruning_rate, rng)
    return CSBMatrix.from_dense(weight, layout.block, layout.row_group)


def random_bank_matrix(
    shape: tuple[int, int], rng: np.random.Generator, pruning_rate: float
) -> Matrix:
    """Draws a bank-balanced matrix; see `random_banks`."""
    weight = random_weight(shape, pruning_rate, rng)
    weight *= random_banks(shape, pruning_rate, rng)
    return CSBMatrix.from_dense(weight, (1, shape[1]))


def random_inputs(program: Program, steps: int, input_range: float, seed: int = 0) -> NDArray[Any]:
    """Draws inputs for a program: tokens, or features of unit variance.

    Features are clipped to ``input_range``, and to 4 standard deviations.

    Shape:
        returns: (steps,) tokens, or (steps, width)
    """
    rng = np.random.default_rng(seed)
    stream = program.streams["input"]
    if stream.dtype == "int32":
        return rng.integers(0, stream.bound, steps)
    scale = min(input_range, _MOST_INPUT)
    values = rng.standard_normal((steps, stream.width))
    return np.clip(values, -scale, scale).astype(np.float32)


def _layout_text(model: PackedModel) -> str:
    """The layouts of a model's pruned matrices."""
    pruned = (m for m in model.matrices.values() if not isinstance(m, DenseMatrix))
    texts = {str(layout_of(m)) if isinstance(m, CSBMatrix) else m.layout for m in pruned}
    return ", ".join(sorted(texts)) or DENSE


def _filled(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Raises weights below `STEP` of their row's largest to it, with signs in turn."""
    largest = np.abs(weight).max(axis=1, initial=0, keepdims=True)
    least = STEP * np.where(largest > 0, largest, 1)
    signs = np.where(np.arange(weight.shape[1]) % 2, np.float32(1), np.float32(-1))
    return np.where(np.abs(weight) < least, signs * least, weight)


def _mapped(model: PackedModel, change: Callable[[Matrix], Matrix]) -> PackedModel:
    """The model in fp32 with every matrix changed."""
    return map_matrices(quantize(model, "fp32"), lambda name, matrix: change(matrix))
