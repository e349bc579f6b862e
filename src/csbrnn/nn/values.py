"""What a traced forward handles, as `csbrnn.nn.lowering` sees it: values without their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "OPAQUE",
    "UNKNOWN",
    "ZEROS",
    "Constant",
    "Extent",
    "FinalState",
    "GivenStates",
    "Sentinel",
    "Stream",
    "TensorKey",
    "flatten",
    "fp32_copy",
    "is_zeros",
    "place_of",
    "tensor_key",
]

TensorKey: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype]


class Sentinel:
    """A value about which nothing more is known than its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


#: The result of something refused: what depends on it is not complained about again.
UNKNOWN = Sentinel("unknown")
#: Zeros that a forward makes, of any shape; see also `is_zeros`.
ZEROS = Sentinel("zeros")
#: A size, a device, a dtype: allowed to exist, never to enter the computation.
OPAQUE = Sentinel("opaque")


@dataclass(frozen=True)
class FinalState:
    """A state of a recurrent layer after the sequence.

    Attributes:
        layer: The layer's name.
        position: The state's position in the cell's order.
    """

    layer: str
    position: int


@dataclass(frozen=True)
class Stream:
    """A tensor that holds one vector (or one token) for every step.

    Attributes:
        source: Name of the packed layer that gives it, or "input".
        axes: What each axis is: "T" time, "B" batch, "F" features, "TB" or "BT" the two merged,
            "1" a new axis of length one, which may serve as time or batch.
        size: Features; None where it is the model's input and not yet known.
        state: The state that this tensor also is, where a cell's output is one.
    """

    source: str
    axes: tuple[str, ...]
    size: int | None
    state: FinalState | None = None

    def moved(self, axes: tuple[str, ...]) -> Stream:
        """The same vectors with other axes."""
        return replace(self, axes=axes, state=None)

    @property
    def layout(self) -> str:
        """The axes for messages: ``(time, batch, features)``."""
        names = {"T": "time", "B": "batch", "F": "features"}
        return "(" + ", ".join(names.get(axis, axis) for axis in self.axes) + ")"


@dataclass(frozen=True)
class GivenStates:
    """States from the caller: an argument of forward, or an element of it at ``path``."""

    path: tuple[Any, ...]


@dataclass(frozen=True)
class Extent:
    """The length of an axis: "T", "B", "F", or a product such as "TB"."""

    axis: str


@dataclass(frozen=True, eq=False)
class Constant:
    """A parameter or buffer used outside of the modules that are understood."""

    name: str
    tensor: Tensor


def is_zeros(value: Any) -> bool:
    """Whether a value is a tensor of zeros: one that forward makes, a parameter or a buffer."""
    return value is ZEROS or (isinstance(value, Constant) and not value.tensor.any())


def flatten(value: Any) -> Iterator[Any]:
    """The leaves of nested tuples, lists and dictionaries, these by key."""
    if isinstance(value, dict):
        value = tuple(value[key] for key in sorted(value, key=place_of))
    if isinstance(value, tuple | list):
        for element in value:
            yield from flatten(element)
    else:
        yield value


def place_of(key: Any) -> tuple[int, str]:
    """Orders the elements of a tuple by number, and those of a dictionary by name."""
    return (key, "") if isinstance(key, int) else (0, str(key))


def tensor_key(tensor: Tensor) -> TensorKey:
    """Gives tensors that are the same memory read in the same way the same key.

    As long as they live: addresses are used again.
    """
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def fp32_copy(tensor: Tensor) -> NDArray[np.float32]:
    """Copies a tensor's values: packed models never change, and training may go on."""
    array: NDArray[np.float32] = tensor.detach().float().cpu().numpy().copy()
    return array
