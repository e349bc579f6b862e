"""`Remembering`: a teacher that is asked the same by every trial of a seed, and answers once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from csbrnn.tasks.fine_tuning import WEIGHTS

__all__ = ["Remembering", "answers_of"]

Answers = dict[tuple[str, bool], Tensor]
"""Digest of the inputs, and whether under autocast -> logits."""

#: Bytes of answers that a process keeps. Ours: 1,200 steps of 16 x 64 characters take 160 MB.
_MOST_BYTES = 2**30


@final
class Remembering(nn.Module):
    """Returns a network's logits, from memory where it has seen the very same inputs before.

    Trials of a seed see the same batches in the same order, so but for the first one in a process
    they have the teacher for nothing (*measured*: a fifth of a step).

    Args:
        network: Called with one tensor; returns logits first.
        answers: What is remembered, shared with the next one made of the same network.
    """

    def __init__(self, network: nn.Module, answers: Answers) -> None:
        super().__init__()
        self.network = network
        self._answers = answers

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of the network.

        Shape:
            inputs: As the network takes them. Returns what it returns first.
        """
        array = inputs.detach().cpu().numpy()
        digest = hashlib.sha1(array.tobytes(), usedforsecurity=False)
        digest.update(repr((array.shape, array.dtype)).encode())
        key = (digest.hexdigest(), torch.is_autocast_enabled(inputs.device.type))
        if key in self._answers:
            return self._answers[key].to(inputs.device)
        logits: Tensor = self.network(inputs)[0]
        kept = sum(answer.nbytes for answer in self._answers.values())
        if kept + logits.nbytes <= _MOST_BYTES:
            self._answers[key] = logits.detach().cpu()
        return logits


def answers_of(directory: Path) -> Answers:
    """Returns what the network of a training's directory has answered in this process."""
    return _answers(directory.resolve(), (directory / WEIGHTS).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _answers(directory: Path, written: int) -> Answers:
    """Empty at first; those of the network before are forgotten."""
    return {}
