"""`PackedModel`: a network as it is stored and compiled, its checks and its sizes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import MAX_DIMENSION, MAX_WEIGHTS, DenseMatrix, Matrix
from csbrnn.model.layers import Embedding, Features, Layer, Recurrent, Signal, Tokens
from csbrnn.numerics import is_scale

__all__ = ["INPUT", "MAX_LAYERS", "MAX_STEP_VALUES", "NAME", "PackedModel", "problems", "verify"]

INPUT: Final = "input"
"""The name under which layers read the model's input."""

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
"""Names of layers: they are part of tensor names, where "/" separates, and of C symbols."""

MAX_LAYERS: Final = 256
"""Most layers of a model. Ours: bounds work on hostile input."""

MAX_STEP_VALUES: Final = 1 << 24
"""Most values that one step computes and carries at batch 1: all signals and states. Ours: 128 MiB
in fp64; pruned to nothing, weights for such a step could take a few bytes of a hostile file."""


@dataclass(frozen=True, eq=False)
class PackedModel:
    """A graph of layers in the order of computation.

    Construction checks nothing; `verify` does, and `save`, `load` and the compiler call it.

    Attributes:
        layers: Each reads the model's input or layers before it.
        input: What one time step brings.
        output: Name of the layer that gives the model's output.
        metadata: JSON-able facts that don't change what is computed. "vocabulary", where present,
            lists the text of each token.
        provenance: JSON-able account of how the model was made.
        activation_scales: "layer/parameter" of a matrix in int8 -> the static scale of what it
            multiplies. Matrices left out take each operand's own, found when it is multiplied.
    """

    layers: tuple[Layer, ...]
    input: Signal
    output: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    activation_scales: Mapping[str, float] = field(default_factory=dict)

    def layer(self, name: str) -> Layer:
        """Return the layer of that name.

        Raises:
            KeyError: There is none.
        """
        return next(layer for layer in self.layers if layer.name == name)

    @cached_property
    def signals(self) -> dict[str, Signal]:
        """What each layer gives, and what "input" is; layers that can't tell are left out."""
        signals: dict[str, Signal] = {INPUT: self.input}
        for layer in self.layers:
            sources = [signals[name] for name in layer.inputs if name in signals]
            output = layer.output(sources)
            if output is not None:
                signals.setdefault(layer.name, output)
        return signals

    @property
    def output_size(self) -> int:
        """Features of the model's output."""
        signal = self.signals[self.output]
        return signal.size if isinstance(signal, Features) else signal.vocabulary

    @property
    def step_values(self) -> int:
        """Values that one step computes and carries at batch 1: all signals and states."""
        signals = (s.size for s in self.signals.values() if isinstance(s, Features))
        stacks = (layer.stack for layer in self.layers if isinstance(layer, Recurrent))
        states = (c * size for stack in stacks for c, size in stack.state_shapes().values())
        return sum(signals) + sum(states)

    @property
    def matrices(self) -> dict[str, Matrix]:
        """Every weight matrix, named "layer/parameter"."""
        return {
            f"{layer.name}/{name}": matrix
            for layer in self.layers
            for name, matrix in layer.matrices.items()
        }

    @property
    def products(self) -> dict[str, Matrix]:
        """The matrices that vectors are multiplied with: all but embedding tables."""
        return {
            f"{layer.name}/{name}": matrix
            for layer in self.layers
            if not isinstance(layer, Embedding)
            for name, matrix in layer.matrices.items()
        }

    @property
    def precision(self) -> str:
        """The precision of the `products`, by name; "mixed" where they differ."""
        names = {matrix.dtype for matrix in self.products.values()} or {"fp32"}
        return names.pop() if len(names) == 1 else "mixed"

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors as stored, indices and vectors included, the JSON not."""
        vectors = sum(v.nbytes for layer in self.layers for v in layer.vectors.values())
        return vectors + sum(matrix.nbytes for matrix in self.matrices.values())

    @property
    def kept_weights(self) -> int:
        """Weights stored in all matrices, those that happen to be zero included."""
        return sum(matrix.kept for matrix in self.matrices.values())

    @property
    def dense_weights(self) -> int:
        """Weights of all matrices before pruning."""
        return sum(matrix.size for matrix in self.matrices.values())

    @property
    def pruning_rate(self) -> float:
        """Weights before / after, over the *pruned* matrices: those not stored dense.

        The papers' "13.5x". Embeddings and output layers left dense don't count, and neither do
        vectors. 1 if nothing is pruned; infinite if all of it is.
        """
        pruned = [m for m in self.matrices.values() if not isinstance(m, DenseMatrix)]
        kept = sum(matrix.kept for matrix in pruned)
        total = sum(matrix.size for matrix in pruned)
        return total / kept if kept else (math.inf if total else 1.0)

    @property
    def compression(self) -> float:
        """Bits of dense fp32 / bits stored, over all tensors, indices and vectors included."""
        vectors = sum(v.size for layer in self.layers for v in layer.vectors.values())
        return 4 * (self.dense_weights + vectors) / self.nbytes if self.nbytes else 1.0

    @property
    def causal(self) -> bool:
        """Whether a step depends on the past alone, so that it can run step by step."""
        return not any(
            layer.stack.bidirectional for layer in self.layers if isinstance(layer, Recurrent)
        )


def problems(model: PackedModel) -> list[str]:
    """Return everything that is wrong with a model, each line naming its layer."""
    found: list[str] = []
    if not 1 <= len(model.layers) <= MAX_LAYERS:
        found.append(f"a model must have 1 to {MAX_LAYERS} layers, not {len(model.layers)}")
    count = model.input.size if isinstance(model.input, Features) else model.input.vocabulary
    if not 1 <= count <= MAX_DIMENSION:
        found.append(f"input must be of size 1 to {MAX_DIMENSION}, not {count}")
    earlier = {INPUT}
    for layer in model.layers:
        found += [
            f"layer {layer.name!a}: {what}" for what in _layer_problems(model, layer, earlier)
        ]
        earlier.add(layer.name)
    if model.output not in earlier - {INPUT}:
        found.append(f"output must be the name of a layer, not {model.output!a}")
    if model.dense_weights > MAX_WEIGHTS:
        found.append(f"a model must have at most {MAX_WEIGHTS} weights, not {model.dense_weights}")
    if model.step_values > MAX_STEP_VALUES:
        found.append(
            f"a step must compute at most {MAX_STEP_VALUES} values, not {model.step_values}"
        )
    return found + _scale_problems(model) + _vocabulary_problems(model)


def verify(model: PackedModel) -> None:
    """Refuse a model that could not be computed.

    Names are unique and well formed, inputs come earlier, sizes agree, every matrix is there with
    its shape, values are finite fp32, the output is a layer, and the caps hold.

    Raises:
        UnsupportedModelError: With all reasons at once.
    """
    found = problems(model)
    if found:
        raise UnsupportedModelError("not a valid packed model", found)


def _layer_problems(model: PackedModel, layer: Layer, earlier: set[str]) -> list[str]:
    found: list[str] = []
    if not NAME.fullmatch(layer.name):
        found.append(f"a name must match {NAME.pattern}")
    if layer.name in earlier:
        found.append(f"the name is taken by {'the model' if layer.name == INPUT else 'a layer'}")
    unknown = [name for name in layer.inputs if name not in earlier]
    if unknown:
        return [*found, f"reads {unknown[0]!a}, which is neither an earlier layer nor 'input'"]
    if all(name in model.signals for name in layer.inputs):
        found += layer.problems([model.signals[name] for name in layer.inputs])
    # A source without a signal has its own line in the list: nothing to add here.
    return found


def _scale_problems(model: PackedModel) -> list[str]:
    found: list[str] = []
    products = model.products
    for name, scale in model.activation_scales.items():
        if name not in products or not products[name].precision.rounds_operand:
            found.append(f"activation_scales: {name!a} is no matrix in int8 that is multiplied")
        elif not isinstance(scale, float) or not is_scale(scale) or scale == 0:
            found.append(
                f"activation_scales: {name!a} must be a number that scale_of() makes, not {scale!a}"
            )
    return found


def _vocabulary_problems(model: PackedModel) -> list[str]:
    if "vocabulary" not in model.metadata:
        return []
    vocabulary = model.metadata["vocabulary"]
    texts = isinstance(vocabulary, list | tuple) and all(isinstance(t, str) for t in vocabulary)
    if not texts:
        return ["metadata: vocabulary must be a list of strings"]
    if isinstance(model.input, Tokens) and len(vocabulary) != model.input.vocabulary:
        return [
            f"metadata: vocabulary must list {model.input.vocabulary} texts, not {len(vocabulary)}"
        ]
    return []
