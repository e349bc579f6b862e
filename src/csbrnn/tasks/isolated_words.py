"""Isolated words: which of a few words a recording says."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from csbrnn.tasks.frame_classifier import FrameClassifier, accuracy, engine_accuracy, last_logits
from csbrnn.tasks.log_mel import FEATURE_RANGES, LogMel
from csbrnn.tasks.recordings import Recording, digest, find_recordings, read_wav
from csbrnn.tasks.settings import check_ranges
from csbrnn.tasks.task import Network, Score, Task
from csbrnn.tasks.training import Training

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["IsolatedWords"]

#: Recordings whose features give mean and scale.
_STATISTICS_RECORDINGS = 200


@final
@dataclass(frozen=True)
class IsolatedWords(Task):
    """Tell the word that a recording says, at its last step.

    A smoke test on spoken digits (98 to 99% at any pruning rate); with Speech Commands' 35 words,
    a task.

    Attributes:
        data: Folder of recordings; see `csbrnn.tasks.recordings.find_recordings`.
        bands: Mel bands.
        stack: Frames of 10 ms that make one step.
    """

    name: ClassVar[str] = "isolated-words"
    metric: ClassVar[str] = "accuracy"
    lower_is_better: ClassVar[bool] = False
    network: ClassVar[Network] = Network(hidden_size=256, num_layers=1, dropout=0.2)
    training: ClassVar[Training] = Training(steps=600, learning_rate=4e-3)

    data: str = ""
    bands: int = 40
    stack: int = 3

    def __post_init__(self) -> None:
        check_ranges(self, **FEATURE_RANGES)

    @cached_property
    def recordings(self) -> tuple[Recording, ...]:
        """The corpus."""
        return find_recordings(Path(self.data))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All labels, sorted: the classes."""
        return tuple(sorted({recording.label for recording in self.recordings}))

    @cached_property
    def log_mel(self) -> LogMel:
        """Features, scaled to mean 0 and variance 1 over training recordings."""
        plain = LogMel(self._rate, self.bands, self.stack)
        training = [recording for recording in self.recordings if not recording.test]
        some = training[:: max(1, len(training) // _STATISTICS_RECORDINGS)]
        return plain.normalized([plain(self._samples(recording)) for recording in some])

    def build(self, network: Network, *, seed: int = 0) -> FrameClassifier:
        """See `Task.build`."""
        torch.manual_seed(seed)
        return FrameClassifier(self.bands * self.stack, len(self.words), network)

    def batch_loss(self, model: nn.Module, rng: np.random.Generator, training: Training) -> Tensor:
        """See `Task.batch_loss`."""
        sequences, labels = self._part(False)
        chosen = rng.integers(0, len(sequences), training.batch)
        logits = last_logits(model, [sequences[k] for k in chosen])
        return functional.cross_entropy(logits, torch.from_numpy(labels[chosen]).to(logits.device))

    def evaluate(self, model: nn.Module) -> Score:
        """See `Task.evaluate`."""
        return accuracy(model, *self._part(True))

    def evaluate_engine(self, engine: Engine) -> Score:
        """See `Task.evaluate_engine`."""
        return engine_accuracy(engine, *self._part(True))

    def sample_input(self) -> npt.NDArray[np.float32]:
        """See `Task.sample_input`."""
        return self._part(True)[0][0]

    def fingerprint(self) -> str:
        """See `Task.fingerprint`."""
        return digest(self.recordings)

    def metadata(self) -> dict[str, Any]:
        """See `Task.metadata`."""
        return {"log_mel": asdict(self.log_mel), "words": list(self.words)}

    @cached_property
    def _rate(self) -> int:
        return read_wav(self.recordings[0].path)[1]

    def _samples(self, recording: Recording) -> npt.NDArray[np.float32]:
        return read_wav(recording.path, rate=self._rate)[0]

    def _part(self, test: bool) -> tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.int64]]:
        return self._parts[test]

    @cached_property
    def _parts(
        self,
    ) -> dict[bool, tuple[list[npt.NDArray[np.float32]], npt.NDArray[np.int64]]]:
        parts = {}
        for test in (False, True):
            chosen = [recording for recording in self.recordings if recording.test is test]
            features = [(self.log_mel(self._samples(r)), r.label) for r in chosen]
            heard = [(values, label) for values, label in features if len(values)]
            labels = np.array([self.words.index(label) for _, label in heard], np.int64)
            parts[test] = ([values for values, _ in heard], labels)
        return parts
