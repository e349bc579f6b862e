"""The network of tasks on sequences of features: recurrent layers, and logits at every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from csbrnn.tasks.task import Network, Score

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["FrameClassifier", "accuracy", "engine_accuracy", "last_logits", "padded"]


class FrameClassifier(nn.Module):
    """Recurrent layers and a linear one, each step's logits from that step and those before.

    Args:
        input_size: Features of a step.
        classes: Logits of a step.
        network: Sizes.
    """

    def __init__(self, input_size: int, classes: int, network: Network) -> None:
        super().__init__()
        self.rnn = network.recurrent(input_size)
        self.dropout = nn.Dropout(network.dropout)
        self.output = nn.Linear(network.hidden_size, classes)

    def forward(self, features: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits at each step.

        Shape:
            features: (seq_len, batch, input_size). Returns (seq_len, batch, classes) and the state.
        """
        outputs, state = self.rnn(features, state)
        return self.output(self.dropout(outputs)), state


def padded(
    sequences: Sequence[npt.NDArray[np.float32]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Sequences as one tensor, zeros after their ends, and their lengths.

    Causal networks give the same outputs before the zeros as without them.

    Shape:
        sequences: (seq_len, features) each. Returns (longest, batch, features) and (batch,).
    """
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    batch = nn.utils.rnn.pad_sequence([torch.from_numpy(s) for s in sequences])
    return batch.to(device), lengths


def last_logits(model: nn.Module, sequences: Sequence[npt.NDArray[np.float32]]) -> Tensor:
    """Logits of each sequence's last step. Shape: (sequences, classes)."""
    features, lengths = padded(sequences, next(model.parameters()).device)
    logits, *_ = model(features)
    last: Tensor = logits[lengths.to(logits.device) - 1, torch.arange(len(sequences))]
    return last.float()


@torch.no_grad()
def accuracy(
    model: nn.Module,
    sequences: Sequence[npt.NDArray[np.float32]],
    labels: npt.NDArray[np.integer[Any]],
    batch: int = 100,
) -> Score:
    """Share of sequences whose last step's likeliest class is their label."""
    was_training = model.training
    model.eval()
    found = [
        last_logits(model, sequences[first : first + batch]).argmax(-1).cpu().numpy()
        for first in range(0, len(sequences), batch)
    ]
    model.train(was_training)
    return _share(np.concatenate(found) == labels)


def engine_accuracy(
    engine: Engine,
    sequences: Sequence[npt.NDArray[np.float32]],
    labels: npt.NDArray[np.integer[Any]],
) -> Score:
    """`accuracy` of a compiled model."""
    found = np.array([int(engine(sequence)[0][-1].argmax()) for sequence in sequences])
    return _share(found == labels)


def _share(right: npt.NDArray[np.bool_]) -> Score:
    return Score(tuple(right.astype(float).tolist()), (1.0,) * len(right))
