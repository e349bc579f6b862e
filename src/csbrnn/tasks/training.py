"""The training loop that every task shares: Adam, a schedule, checkpoints, and a pruner's calls."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from csbrnn.checks import is_integer, is_number
from csbrnn.errors import ArgumentError
from csbrnn.files import replace_file
from csbrnn.pruning import Pruner

__all__ = ["Training", "fit"]

#: Seconds of training that an interruption may cost.
_CHECKPOINT_EVERY_S = 10.0

#: What `Training.autocast` may be. Half precision is none: its range needs losses to be scaled.
_AUTOCASTS = {"bfloat16": torch.bfloat16}

#: Where the rate ends, as a share of its peak.
_LAST_RATE = 0.02


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
        seq_len: Time steps a sequence, for tasks that cut their sequences from a stream.
        clip: Largest norm of the gradient.
        seed: Determines the batches; training repeats exactly on one machine.
        autocast: Format of the products while training: "bfloat16", or None for that of the
            weights. The weights stay fp32, and so do losses, gradients of weights and measures.
            Where the machine has instructions for it, training is faster (*measured*: by half).

    Raises:
        ArgumentError: A setting is out of range; the message lists all.
    """

    steps: int
    learning_rate: float
    warmup: int = 50
    decay_from: float = 0.5
    batch: int = 32
    seq_len: int = 64
    clip: float = 1.0
    seed: int = 0
    autocast: str | None = None

    def __post_init__(self) -> None:
        reasons = [
            f"{name} must be a whole number, at least {least}, not {getattr(self, name)!r}"
            for name, least in (("steps", 1), ("warmup", 0), ("batch", 1), ("seq_len", 1))
            if not is_integer(getattr(self, name), least)
        ]
        reasons += [
            f"{name} must be a positive number, not {getattr(self, name)!r}"
            for name in ("learning_rate", "clip")
            if not is_number(getattr(self, name)) or not getattr(self, name) > 0
        ]
        if not is_number(self.decay_from) or not 0 <= self.decay_from <= 1:
            reasons.append(f"decay_from must lie in [0, 1], not {self.decay_from!r}")
        if self.autocast not in (None, *_AUTOCASTS):
            reasons.append(
                f"autocast must be {', '.join(map(repr, _AUTOCASTS))} or left out, "
                f"not {self.autocast!r}"
            )
        if reasons:
            raise ArgumentError("training can't work: " + "; ".join(reasons))

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rate = self.learning_rate * min(1.0, (step + 1) / max(self.warmup, 1))
        start = self.decay_from * self.steps
        if step < start:
            return rate
        progress = (step - start) / max(self.steps - start, 1)
        return rate * (_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * progress)))


def fit(
    model: nn.Module,
    batch_loss: Callable[[nn.Module, np.random.Generator], Tensor],
    training: Training,
    *,
    checkpoint: Path,
    pruner: Pruner | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Trains a model in place, resuming from its checkpoint where there is one.

    Args:
        model: The network.
        batch_loss: Draws a batch and returns its loss under the model.
        training: The settings.
        checkpoint: File to save to about every ten seconds and at the end.
        pruner: From `csbrnn.prune_` on the same model.
        progress: Called after each step with the steps done and the batch's loss.

    Raises:
        ArgumentError: The checkpoint is of other settings or another network, or is unreadable.
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
        with _autocast(model, training):
            task_loss = batch_loss(model, np.random.default_rng((training.seed, step)))
        loss = task_loss if pruner is None else pruner.loss(task_loss)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), training.clip)
        optimizer.step()
        if pruner is not None:
            pruner.step()
        if progress is not None:
            progress(step + 1, task_loss.item())
        if step + 1 == training.steps or time.monotonic() - saved > _CHECKPOINT_EVERY_S:
            _save(checkpoint, step + 1, model, optimizer, pruner, training)
            saved = time.monotonic()


def _autocast(model: nn.Module, training: Training) -> torch.autocast:
    device = next(model.parameters()).device.type
    form = _AUTOCASTS.get(training.autocast or "")
    return torch.autocast(device, dtype=form, enabled=form is not None)


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
    if torch.cuda.is_available():
        state["random_cuda"] = torch.cuda.get_rng_state_all()
    replace_file(path, lambda file: torch.save(state, file))


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
        state = torch.load(path, map_location="cpu", weights_only=True)
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
    try:
        model.load_state_dict(state["model"])
    except RuntimeError as error:
        raise ArgumentError(
            f"{path}: is of another network; train in another directory, or delete it to start "
            f"again ({error})"
        ) from error
    optimizer.load_state_dict(state["optimizer"])
    if pruner is not None:
        pruner.load_state_dict(state["pruner"])
    torch.set_rng_state(state["random"].cpu())
    if torch.cuda.is_available() and "random_cuda" in state:
        torch.cuda.set_rng_state_all(state["random_cuda"])
    return int(state["step"])
