"""The layers of a packed model, and the signals that pass between them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from csbrnn.cells import Stack
from csbrnn.formats import Matrix

__all__ = [
    "LAYERS",
    "Activation",
    "Combine",
    "Embedding",
    "Features",
    "Layer",
    "Linear",
    "Recurrent",
    "Signal",
    "Tokens",
    "Vector",
]

Vector: TypeAlias = NDArray[np.float32]
"""A parameter that is not a matrix: (size,), fp32."""


@dataclass(frozen=True)
class Features:
    """A signal of ``size`` numbers at each time step."""

    size: int

    def __str__(self) -> str:
        return f"{self.size} features"


@dataclass(frozen=True)
class Tokens:
    """A signal of one integer in 0..vocabulary-1 at each time step."""

    vocabulary: int

    def __str__(self) -> str:
        return f"tokens of a vocabulary of {self.vocabulary}"


Signal: TypeAlias = Features | Tokens


@dataclass(frozen=True, eq=False)
class Layer(ABC):
    """One node of the graph; immutable.

    Attributes:
        KIND: The layer's kind in files and in `LAYERS`.
        name: Unique in the model.
        inputs: Names of the layers (or "input") that it reads, in order.
    """

    KIND: ClassVar[str]
    name: str
    inputs: tuple[str, ...]

    @abstractmethod
    def output(self, sources: Sequence[Signal]) -> Features | None:
        """Return what the layer gives; None if that can't be told from such sources."""

    @abstractmethod
    def problems(self, sources: Sequence[Signal]) -> list[str]:
        """Return everything that is wrong with the layer, given the signals it reads."""

    @property
    def matrices(self) -> Mapping[str, Matrix]:
        """Its weight matrices, by parameter name."""
        return {}

    @property
    def vectors(self) -> Mapping[str, Vector]:
        """Its other parameters, by parameter name."""
        return {}


@dataclass(frozen=True, eq=False)
class Embedding(Layer):
    """A row of ``weight`` for each token.

    Attributes:
        weight: (vocabulary, size): one row a token, as in `torch.nn.Embedding`.
    """

    KIND: ClassVar[str] = "embedding"
    weight: Matrix

    def output(self, sources: Sequence[Signal]) -> Features:
        """Return features of the embedding's size."""
        return Features(self.weight.shape[1])

    def problems(self, sources: Sequence[Signal]) -> list[str]:
        """The source must be tokens, one for each row."""
        found = _no_size(self.weight)
        if len(sources) != 1 or sources[0] != Tokens(self.weight.shape[0]):
            found.append(
                f"must read tokens of a vocabulary of {self.weight.shape[0]}, not {_list(sources)}"
            )
        return found

    @property
    def matrices(self) -> Mapping[str, Matrix]:
        """``weight``."""
        return {"weight": self.weight}


@dataclass(frozen=True, eq=False)
class Linear(Layer):
    """``weight @ x + bias``.

    Attributes:
        weight: (outputs, inputs).
        bias: (outputs,), or None.
    """

    KIND: ClassVar[str] = "linear"
    weight: Matrix
    bias: Vector | None = None

    def output(self, sources: Sequence[Signal]) -> Features:
        """Return features, one for each row."""
        return Features(self.weight.shape[0])

    def problems(self, sources: Sequence[Signal]) -> list[str]:
        """The source must have as many features as the weight has columns."""
        found = _no_size(self.weight) + _reads(sources, self.weight.shape[1])
        if self.bias is not None:
            found += _vector_problems("bias", self.bias, (self.weight.shape[0],))
        return found

    @property
    def matrices(self) -> Mapping[str, Matrix]:
        """``weight``."""
        return {"weight": self.weight}

    @property
    def vectors(self) -> Mapping[str, Vector]:
        """``bias``, where there is one."""
        return {} if self.bias is None else {"bias": self.bias}


@dataclass(frozen=True, eq=False)
class Recurrent(Layer):
    """A stack of RNN layers, its state carried from step to step.

    Attributes:
        stack: What is computed.
        parameters: Parameter name, as `Stack.parameter_shapes` has it -> matrices as `Matrix`,
            vectors as fp32 arrays. Vectors may be left out, which means zero.
    """

    KIND: ClassVar[str] = "recurrent"
    stack: Stack
    parameters: Mapping[str, Matrix | Vector] = field(repr=False)

    def output(self, sources: Sequence[Signal]) -> Features:
        """Return the stack's output: both directions' features if there are two."""
        return Features(self.stack.output_size)

    def problems(self, sources: Sequence[Signal]) -> list[str]:
        """Every matrix must be there, and everything that is there must fit the stack."""
        found = _reads(sources, self.stack.input_size)
        if self.stack.num_layers > MAX_STACK:
            return [*found, f"must stack at most {MAX_STACK} layers, not {self.stack.num_layers}"]
        shapes = self.stack.parameter_shapes()
        found += [
            f"has an unknown parameter {name!a}" for name in sorted(self.parameters.keys() - shapes)
        ]
        missing = [n for n, s in shapes.items() if len(s) == 2 and n not in self.parameters]
        if missing:
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            found.append(f"lacks {', '.join(missing[:8])}{more}")
        for name, shape in shapes.items():
            value = self.parameters.get(name)
            if isinstance(value, Matrix):
                if value.shape != shape:
                    found.append(f"{name} must have shape {shape}, not {value.shape}")
            elif value is not None and len(shape) == 1:
                found += _vector_problems(name, value, shape)
            elif value is not None:
                found.append(f"{name} must be a Matrix, not {type(value).__name__}")
        return found

    @property
    def matrices(self) -> Mapping[str, Matrix]:
        """The weight matrices of all layers and directions."""
        return {n: p for n, p in self.parameters.items() if isinstance(p, Matrix)}

    @property
    def vectors(self) -> Mapping[str, Vector]:
        """The biases and other vectors of all layers and directions."""
        return {n: p for n, p in self.parameters.items() if not isinstance(p, Matrix)}


@dataclass(frozen=True, eq=False)
class Activation(Layer):
    """A function of each feature, or (the softmaxes) of all features of a step.

    Attributes:
        function: One of `FUNCTIONS`.
    """

    KIND: ClassVar[str] = "activation"
    FUNCTIONS: ClassVar[tuple[str, ...]] = ("relu", "tanh", "sigmoid", "softmax", "log_softmax")
    function: str

    def output(self, sources: Sequence[Signal]) -> Features | None:
        """Return features, as many as it reads."""
        return sources[0] if len(sources) == 1 and isinstance(sources[0], Features) else None

    def problems(self, sources: Sequence[Signal]) -> list[str]:
        """There must be one source, of features."""
        return _unknown(self.function, self.FUNCTIONS) + (
            []
            if self.output(sources)
            else [f"must read one layer's features, not {_list(sources)}"]
        )


@dataclass(frozen=True, eq=False)
class Combine(Layer):
    """Several signals made one.

    Attributes:
        function: One of `FUNCTIONS`; "concatenate" puts features one after another, in order.
    """

    KIND: ClassVar[str] = "combine"
    FUNCTIONS: ClassVar[tuple[str, ...]] = ("add", "multiply", "concatenate")
    function: str

    def output(self, sources: Sequence[Signal]) -> Features | None:
        """Return features: as many as each source, or as all of them for "concatenate"."""
        sizes = [source.size for source in sources if isinstance(source, Features)]
        if len(sizes) != len(sources) or len(sizes) < 2:
            return None
        if self.function == "concatenate":
            return Features(sum(sizes))
        return Features(sizes[0]) if len(set(sizes)) == 1 else None

    def problems(self, sources: Sequence[Signal]) -> list[str]:
        """There must be two sources or more, and of one size unless they are concatenated."""
        same = "" if self.function == "concatenate" else " of one size"
        return _unknown(self.function, self.FUNCTIONS) + (
            []
            if self.output(sources)
            else [f"must read features of two or more layers{same}, not {_list(sources)}"]
        )


LAYERS: Final[dict[str, type[Layer]]] = {
    layer.KIND: layer for layer in (Embedding, Linear, Recurrent, Activation, Combine)
}
"""Layer kind, as files have it -> its class."""

MAX_STACK: Final = 64
"""Most layers of one stack. Ours: far beyond any that trains; bounds work on hostile input."""


def _list(sources: Sequence[Signal]) -> str:
    return " and ".join(str(source) for source in sources) or "nothing"


def _reads(sources: Sequence[Signal], size: int) -> list[str]:
    if list(sources) == [Features(size)]:
        return []
    return [f"must read {Features(size)}, not {_list(sources)}"]


def _no_size(weight: Matrix) -> list[str]:
    return [] if all(weight.shape) else [f"weight must not be empty, but has shape {weight.shape}"]


def _unknown(function: str, functions: tuple[str, ...]) -> list[str]:
    if function in functions:
        return []
    return [f"function must be one of {', '.join(functions)}, not {function!a}"]


def _vector_problems(name: str, value: object, shape: tuple[int, ...]) -> list[str]:
    if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.shape != shape:
        got = (
            f"{value.dtype} of shape {value.shape}"
            if isinstance(value, np.ndarray)
            else type(value).__name__
        )
        return [f"{name} must be a float32 array of shape {shape}, not {got}"]
    return [] if np.isfinite(value).all() else [f"{name} must be finite; it holds NaN or infinity"]
