"""Character language model: the network, its training loop, its measure."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from csbrnn.errors import ArgumentError
from csbrnn.pruning import Pruner
from csbrnn.tasks.text import TextCorpus

__all__ = ["CharLM", "Training", "bits_per_char", "train"]

#: Seconds of training that an interruption may cost.
_CHECKPOINT_EVERY_S = 10.0


class CharLM(nn.Module):
    """Embedding, LSTM, linear: logits of the next character.

    Args:
        vocabulary: Number of characters.
        hidden_size: Units of each LSTM layer.
        num_layers: LSTM layers.
        embedding_size: Features of a character.
        dropout: Share of outputs dropped in training, between layers and before the last.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden_size: int,
        num_layers: int = 1,
        embedding_size: int = 64,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        self.lstm = nn.LSTM(
            embedding_size, hidden_size, num_layers, dropout=dropout if num_layers > 1 else 0.0
        )
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, vocabulary)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Logits for each position.

        Shape:
            tokens: (seq_len, batch), integers. Returns (seq_len, batch, vocabulary) and the state.
        """
        outputs, state = self.lstm(self.embedding(tokens), state)
        return self.output(self.dropout(outputs)), state


@dataclass(frozen=True)
class Training:
    """How to train; Adam with gradient clipping.

    Attributes:
        steps: Optimizer steps.
        learning_rate: Peak rate.
        warmup: Steps of linear warm-up.
        decay_from: Share of the steps after which a cosine lowers the rate to 2% of the peak;
            1 keeps it constant. (Constant for the first half, then cosine, is what ADMM wants:
            the rate must stay high while the weights move towards the pattern.)
        batch: Sequences a step.
        seq_len: Characters a sequence.
        clip: Largest norm of the gradient.
        seed: Determines the batches; training repeats exactly on one machine.
    """

    steps: int
    learning_rate: float
    warmup: int = 50
    decay_from: float = 0.5
    batch: int = 32
    seq_len: int = 64
    clip: float = 1.0
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1))
        start = self.decay_from * self.steps
        if step < start:
            return rate
        progress = (step - start) / max(self.steps - start, 1)
        return rate * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))


def train(
    model: nn.Module,
    corpus: TextCorpus,
    training: Training,
    *,
    checkpoint: Path,
    pruner: Pruner | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Trains a model in place, resuming from its checkpoint where there is one.

    Args:
        model: Called with tokens (seq_len, batch); returns logits first.
        corpus: The text.
        training: The settings.
        checkpoint: File to save to about every ten seconds and at the end.
        pruner: From `csbrnn.prune_` on the same model.
        progress: Called after each step with the steps done and the loss in bits a character.

    Raises:
        ArgumentError: The checkpoint is of other settings, or is unreadable.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
    torch.manual_seed(training.seed)
    start = _resume(checkpoint, model, optimizer, pruner, training)
    model.train()
    saved = time.monotonic()
    for step in range(start, training.steps):
        for group in optimizer.param_groups:
            group["lr"] = training.rate(step)
        # Batches depend on the step alone, so a resumed run sees what an unbroken one would.
        rng = np.random.default_rng((training.seed, step))
        tokens, targets = map(torch.from_numpy, corpus.batch(rng, training.batch, training.seq_len))
        logits, *_ = model(tokens)
        task_loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        loss = task_loss if pruner is None else pruner.loss(task_loss)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        if pruner is not None:
            pruner.step()
        if progress is not None:
            progress(step + 1, task_loss.item() / math.log(2))
        if step + 1 == training.steps or time.monotonic() - saved > _CHECKPOINT_EVERY_S:
            _save(checkpoint, step + 1, model, optimizer, pruner, training)
            saved = time.monotonic()


@torch.no_grad()
def bits_per_char(model: nn.Module, corpus: TextCorpus, chunk: int = 4096) -> float:
    """Mean bits a character of the held-out text, read as one stream with the state carried."""
    was_training = model.training
    model.eval()
    tokens = torch.from_numpy(corpus.held_out.astype(np.int64))
    state, bits = None, 0.0
    for start in range(0, len(tokens) - 1, chunk):
        piece = tokens[start : start + chunk + 1]
        logits, state = model(piece[:-1, None], state)
        bits += functional.cross_entropy(logits[:, 0], piece[1:], reduction="sum").item()
    model.train(was_training)
    return bits / math.log(2) / (len(tokens) - 1)


def _save(
    path: Path,
    step: int,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pruner: Pruner | None,
    training: Training,
) -> None:
    state = {
        "training": repr(training),
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "pruner": None if pruner is None else pruner.state_dict(),
        "random": torch.get_rng_state(),
    }
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)  # a kill leaves the old checkpoint or the new one, never half


def _resume(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    pruner: Pruner | None,
    training: Training,
) -> int:
    if not path.exists():
        return 0
    try:
        state = torch.load(path, weights_only=True)
        same = state["training"] == repr(training)
    except Exception as error:
        raise ArgumentError(
            f"{path}: not a readable checkpoint ({error}); delete it to start again"
        ) from error
    if not same:
        raise ArgumentError(
            f"{path}: made with {state['training']}, not with {training}; "
            "train in another directory, or delete it to start again"
        )
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if pruner is not None:
        pruner.load_state_dict(state["pruner"])
    torch.set_rng_state(state["random"])
    return int(state["step"])
