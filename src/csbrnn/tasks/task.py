"""What a task is: data, a network to train on it, and a measure on data held out.

Studies, searches and explorations know tasks by this interface alone.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from csbrnn import cells
from csbrnn.checks import is_integer, is_number
from csbrnn.errors import ArgumentError
from csbrnn.nn import Recurrent
from csbrnn.pruning import Pruner
from csbrnn.tasks.training import Training, fit

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["CELLS", "Network", "Score", "Task"]

#: Where torch has a fused module for a cell: it trains several times faster, to the same outputs.
_FUSED: Final[dict[str, Callable[..., nn.RNNBase]]] = {
    "lstm": nn.LSTM,
    "gru": nn.GRU,
    "rnn_tanh": nn.RNN,
    "rnn_relu": partial(nn.RNN, nonlinearity="relu"),
}

CELLS: Final = (
    *_FUSED,
    *(
        name
        for name, cell in cells.CELLS.items()
        if name not in _FUSED and "proj" not in cell.dimensions
    ),
)
"""Cells that tasks build their networks from: not those with a projection, whose size `Network`
does not have."""


@final
@dataclass(frozen=True)
class Network:
    """Sizes of the network that a task builds.

    Attributes:
        cell: One of `CELLS`.
        hidden_size: Units of each recurrent layer.
        num_layers: Recurrent layers.
        dropout: Share of outputs dropped in training, between layers and before the last.

    Raises:
        ArgumentError: A setting is out of range; the message lists all.
    """

    cell: str = "lstm"
    hidden_size: int = 512
    num_layers: int = 1
    dropout: float = 0.0

    def __post_init__(self) -> None:
        reasons = [
            f"{name} must be a whole number, at least 1, not {getattr(self, name)!r}"
            for name in ("hidden_size", "num_layers")
            if not is_integer(getattr(self, name), 1)
        ]
        if self.cell not in CELLS:
            reasons.append(f"cell must be one of {', '.join(CELLS)}, not {self.cell!r}")
        if not is_number(self.dropout) or not 0 <= self.dropout < 1:
            reasons.append(f"dropout must lie in [0, 1), not {self.dropout!r}")
        if reasons:
            raise ArgumentError("the network can't be built: " + "; ".join(reasons))

    def recurrent(self, input_size: int) -> nn.RNNBase | Recurrent:
        """Returns the recurrent layers. Inputs are (seq_len, batch, input_size)."""
        make = _FUSED.get(self.cell) or partial(Recurrent, cells.CELLS[self.cell])
        return make(
            input_size,
            self.hidden_size,
            self.num_layers,
            dropout=self.dropout if self.num_layers > 1 else 0.0,
        )


@final
@dataclass(frozen=True)
class Score:
    """A measure over held-out data, which falls into units: stretches of text, recordings.

    The value is ``sum(totals) / sum(counts)``, or the exponential of it. The standard error is
    that of a ratio of sums over units drawn at random (by linearization); ours for texts: stretches
    are taken as independent.

    Attributes:
        totals: What is counted in each unit: bits, errors.
        counts: Out of how many: characters, digits.
        exponential: Whether the value is ``exp`` of the ratio: a perplexity.
    """

    totals: tuple[float, ...]
    counts: tuple[float, ...]
    exponential: bool = False
    value: float = field(init=False)
    stderr: float = field(init=False)

    def __post_init__(self) -> None:
        ratio, error = _ratio(self.totals, self.counts)
        if self.exponential:
            ratio = math.exp(min(ratio, 700.0))  # e**709 is the largest double
            error *= ratio
        object.__setattr__(self, "value", ratio)
        object.__setattr__(self, "stderr", error)

    def difference(self, other: Score) -> tuple[float, float]:
        """Returns this value less another's on the same units, and its standard error.

        What makes a unit hard is hard for both networks, so the error is that of paired samples:
        far smaller than those of the two values.

        Raises:
            ArgumentError: The scores are of different units.
        """
        if self.counts != other.counts or self.exponential != other.exponential:
            raise ArgumentError(
                f"scores compare on the same held-out units only, got {len(self.counts)} and "
                f"{len(other.counts)} units"
            )
        _, error = _ratio(
            tuple(a - b for a, b in zip(self.totals, other.totals, strict=True)), self.counts
        )
        if self.exponential:
            error *= math.sqrt(self.value * other.value)
        return self.value - other.value, error


def _ratio(totals: tuple[float, ...], counts: tuple[float, ...]) -> tuple[float, float]:
    """Ratio of the sums, and its standard error; infinite for a single unit."""
    n, count = len(totals), sum(counts)
    ratio = sum(totals) / count
    if n < 2:
        return ratio, math.inf
    squares = sum((t - ratio * c) ** 2 for t, c in zip(totals, counts, strict=True))
    return ratio, math.sqrt(squares * n / (n - 1)) / count


class Task(abc.ABC):
    """Data and what to make of it. Subclasses are frozen dataclasses of plain settings.

    To add a task: one file with one such class, and one line in ``tasks/registry.py``.
    """

    name: ClassVar[str]
    """The task's key in recipe files."""
    metric: ClassVar[str]
    """What `evaluate` measures, with its unit."""
    lower_is_better: ClassVar[bool]
    """Whether smaller values are better ones."""
    network: ClassVar[Network]
    """Sizes of a fair dense baseline."""
    training: ClassVar[Training]
    """How that baseline is trained."""

    @abc.abstractmethod
    def build(self, network: Network, *, seed: int = 0) -> nn.Module:
        """Returns a new network of the given sizes, its weights drawn by the seed."""

    @abc.abstractmethod
    def batch_loss(self, model: nn.Module, rng: np.random.Generator, training: Training) -> Tensor:
        """Draws a training batch and returns its loss, in nats. Shape: ()."""

    @abc.abstractmethod
    def evaluate(self, model: nn.Module) -> Score:
        """Measures a network on the data held out."""

    @abc.abstractmethod
    def evaluate_engine(self, engine: Engine) -> Score:
        """Measures what is deployed: a packed network, compiled, run as one stream after another.

        The difference to `evaluate` is what rounding costs.
        """

    @abc.abstractmethod
    def sample_input(self) -> npt.NDArray[Any]:
        """Returns one held-out input as an engine takes it.

        Shape:
            (seq_len, features) float32, or (seq_len,) int32 for tokens.
        """

    @abc.abstractmethod
    def fingerprint(self) -> str:
        """Returns a text that changes with the data, and not with the place where it lies."""

    def metadata(self) -> dict[str, Any]:
        """Returns the facts that a packed model should carry, such as a vocabulary."""
        return {}

    def train(
        self,
        model: nn.Module,
        training: Training,
        *,
        checkpoint: Path,
        pruner: Pruner | None = None,
        progress: Callable[[int, float], None] | None = None,
    ) -> None:
        """Trains a model in place, resuming from its checkpoint; see `csbrnn.tasks.training.fit`.

        Args:
            model: From `build`, perhaps moved to another device.
            training: The settings.
            checkpoint: File to save to about every ten seconds and at the end.
            pruner: From `csbrnn.prune_` on the same model.
            progress: Called after each step with the steps done and the batch's loss in nats.
        """
        fit(
            model,
            lambda network, rng: self.batch_loss(network, rng, training),
            training,
            checkpoint=checkpoint,
            pruner=pruner,
            progress=progress,
        )


def device_of(model: nn.Module) -> torch.device:
    """Where a model's parameters are."""
    return next(model.parameters()).device
