"""Classification of sequences that come as .npy arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from csbrnn.errors import ArgumentError
from csbrnn.tasks.frame_classifier import FrameClassifier, accuracy, engine_accuracy, last_logits
from csbrnn.tasks.task import Network, Score, Task
from csbrnn.tasks.training import Training

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["LabelledArrays"]

_MOST_CLASSES: Final = 1_000_000
"""Ours: more are a mistake, and the output layer would not fit into memory."""


class _Arrays(NamedTuple):
    train_x: npt.NDArray[np.float32]
    train_y: npt.NDArray[np.int64]
    test_x: npt.NDArray[np.float32]
    test_y: npt.NDArray[np.int64]


@final
@dataclass(frozen=True)
class LabelledArrays(Task):
    """Tell the class of a sequence of feature vectors, at its last step.

    Attributes:
        data: Folder with ``train_x.npy`` and ``test_x.npy``, (sequences, seq_len, features), and
            ``train_y.npy`` and ``test_y.npy``, (sequences,): classes from 0 on. Features are taken
            as they are: scale them before.
    """

    name: ClassVar[str] = "labelled-arrays"
    metric: ClassVar[str] = "accuracy"
    lower_is_better: ClassVar[bool] = False
    network: ClassVar[Network] = Network(hidden_size=128, num_layers=1, dropout=0.2)
    training: ClassVar[Training] = Training(steps=600, learning_rate=4e-3)

    data: str = ""

    @cached_property
    def arrays(self) -> _Arrays:
        """The arrays, checked."""
        folder = Path(self.data)
        x = {part: _load(folder / f"{part}_x.npy") for part in ("train", "test")}
        y = {part: _load(folder / f"{part}_y.npy") for part in ("train", "test")}
        reasons = []
        for part in ("train", "test"):
            if x[part].ndim != 3 or 0 in x[part].shape:
                shape = x[part].shape
                reasons.append(
                    f"{part}_x must have shape (sequences, seq_len, features), not {shape}"
                )
                continue
            if x[part].dtype.kind not in "fiub" or not np.isfinite(x[part]).all():
                reasons.append(f"{part}_x must hold finite numbers")
            if y[part].shape != x[part].shape[:1]:
                reasons.append(
                    f"{part}_y must have one class for each of {part}_x's {len(x[part])} sequences,"
                    f" not shape {y[part].shape}"
                )
            elif not np.issubdtype(y[part].dtype, np.integer) or y[part].min(initial=0) < 0:
                reasons.append(f"{part}_y must hold whole numbers from 0 on")
            elif y[part].max(initial=0) >= _MOST_CLASSES:
                reasons.append(f"{part}_y must hold classes below {_MOST_CLASSES:,}")
        if not reasons and x["train"].shape[2] != x["test"].shape[2]:
            sizes = f"{x['train'].shape[2]} and {x['test'].shape[2]}"
            reasons.append(f"train_x and test_x must have the same features, not {sizes}")
        if reasons:
            raise ArgumentError(f"{folder}: " + "; ".join(reasons))
        return _Arrays(
            x["train"].astype(np.float32),
            y["train"].astype(np.int64),
            x["test"].astype(np.float32),
            y["test"].astype(np.int64),
        )

    def build(self, network: Network, *, seed: int = 0) -> FrameClassifier:
        """See `Task.build`."""
        torch.manual_seed(seed)
        classes = 1 + int(max(self.arrays.train_y.max(), self.arrays.test_y.max()))
        return FrameClassifier(self.arrays.train_x.shape[2], classes, network)

    def batch_loss(self, model: nn.Module, rng: np.random.Generator, training: Training) -> Tensor:
        """See `Task.batch_loss`."""
        chosen = rng.integers(0, len(self.arrays.train_x), training.batch)
        logits = last_logits(model, list(self.arrays.train_x[chosen]))
        labels = torch.from_numpy(self.arrays.train_y[chosen])
        return functional.cross_entropy(logits, labels.to(logits.device))

    def evaluate(self, model: nn.Module) -> Score:
        """See `Task.evaluate`."""
        return accuracy(model, list(self.arrays.test_x), self.arrays.test_y)

    def evaluate_engine(self, engine: Engine) -> Score:
        """See `Task.evaluate_engine`."""
        return engine_accuracy(engine, list(self.arrays.test_x), self.arrays.test_y)

    def sample_input(self) -> npt.NDArray[np.float32]:
        """See `Task.sample_input`."""
        first: npt.NDArray[np.float32] = self.arrays.test_x[0]
        return first

    def fingerprint(self) -> str:
        """See `Task.fingerprint`."""
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]


def _load(path: Path) -> npt.NDArray[np.generic]:
    try:
        array: npt.NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArgumentError(
            f"{path}: can't be read as a .npy array: {reason}; say where the arrays are with --data"
        ) from None
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"{path}: must be a .npy array, not an .npz archive")
    return array
