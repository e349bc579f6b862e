"""Connected digits: strings of recordings joined with pauses, in noise, read by CTC."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from csbrnn.errors import ArgumentError
from csbrnn.tasks.frame_classifier import FrameClassifier, padded
from csbrnn.tasks.log_mel import FEATURE_RANGES, LogMel
from csbrnn.tasks.recordings import Recording, digest, find_recordings, read_wav
from csbrnn.tasks.settings import check_ranges
from csbrnn.tasks.task import Network, Score, Task, device_of
from csbrnn.tasks.training import Training

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["ConnectedDigits", "edit_distance", "greedy_digits"]

#: Output 0 of the network is CTC's blank, output d + 1 is digit d.
_BLANK = 0
_CLASSES = 11
#: Digits of a string: from, to.
_LENGTHS = (3, 7)
#: Strings that training draws from. Ours: four hours of them; each is made once a run.
_TRAINING_STRINGS = 4096
#: Strings whose features give mean and scale.
_STATISTICS_STRINGS = 32
#: Where noise begins. Ours: telephones and small microphones carry less below.
_LOWEST_HZ = 50.0
#: Strings evaluated at a time.
_EVALUATION_BATCH = 50


class _String(NamedTuple):
    features: npt.NDArray[np.float32]
    digits: tuple[int, ...]


@final
@dataclass(frozen=True)
class ConnectedDigits(Task):
    """Read 3 to 7 digits that a speaker says in noise. Streaming: no step looks ahead.

    Strings are joined from recordings of single digits of one speaker, with pauses of random
    length, and pink noise over it all. Those to test on are made of held-out recordings, and are
    the same in every run.

    Attributes:
        data: Folder of recordings; see `csbrnn.tasks.recordings.find_recordings`.
        snr_db: Speech over noise of the test strings; training strings have 0 to 10 dB more.
        pause_s: Longest pause between digits.
        test_strings: Strings to test on.
        bands: Mel bands.
        stack: Frames of 10 ms that make one step.

    Units:
        snr_db in decibels, pause_s in seconds.
    """

    name: ClassVar[str] = "connected-digits"
    metric: ClassVar[str] = "digit error rate"
    lower_is_better: ClassVar[bool] = True
    network: ClassVar[Network] = Network(hidden_size=512, num_layers=2, dropout=0.2)
    training: ClassVar[Training] = Training(steps=1600, learning_rate=2e-3, warmup=100, batch=16)

    data: str = ""
    snr_db: float = 8.0
    pause_s: float = 0.4
    test_strings: int = 300
    bands: int = 40
    stack: int = 3

    def __post_init__(self) -> None:
        check_ranges(
            self,
            snr_db=(-60.0, 120.0),
            pause_s=(0.0, 60.0),
            test_strings=(1, 1_000_000),
            **FEATURE_RANGES,
        )

    @cached_property
    def recordings(self) -> tuple[Recording, ...]:
        """The corpus; labels are digits."""
        found = find_recordings(Path(self.data))
        if wrong := sorted({r.label for r in found if not is_digit(r.label)}):
            raise ArgumentError(f"{self.data}: labels must be digits, not {', '.join(wrong[:5])}")
        return found

    @cached_property
    def log_mel(self) -> LogMel:
        """Features, scaled to mean 0 and variance 1 over training strings."""
        plain = LogMel(self._rate, self.bands, self.stack)
        some = [self._string(plain, False, number) for number in range(_STATISTICS_STRINGS)]
        return plain.normalized([string.features for string in some])

    @cached_property
    def test_set(self) -> tuple[_String, ...]:
        """The strings to test on."""
        return tuple(
            self._string(self.log_mel, True, number) for number in range(self.test_strings)
        )

    def build(self, network: Network, *, seed: int = 0) -> FrameClassifier:
        """See `Task.build`."""
        torch.manual_seed(seed)
        return FrameClassifier(self.bands * self.stack, _CLASSES, network)

    def batch_loss(self, model: nn.Module, rng: np.random.Generator, training: Training) -> Tensor:
        """CTC loss a digit. See `Task.batch_loss`."""
        chosen = rng.integers(0, _TRAINING_STRINGS, training.batch)
        strings = [self._training_string(int(number)) for number in chosen]
        features, lengths = padded([string.features for string in strings], device_of(model))
        logits, *_ = model(features)
        targets = torch.tensor([digit + 1 for string in strings for digit in string.digits])
        counts = torch.tensor([len(string.digits) for string in strings])
        return functional.ctc_loss(
            logits.float().log_softmax(-1),
            targets.to(logits.device),
            lengths,
            counts,
            _BLANK,
            reduction="sum",
        ) / int(counts.sum())

    @torch.no_grad()
    def evaluate(self, model: nn.Module) -> Score:
        """See `Task.evaluate`."""
        was_training = model.training
        model.eval()
        read: list[tuple[int, ...]] = []
        for first in range(0, len(self.test_set), _EVALUATION_BATCH):
            strings = self.test_set[first : first + _EVALUATION_BATCH]
            features, lengths = padded([string.features for string in strings], device_of(model))
            best = model(features)[0].argmax(-1).cpu().numpy()
            read += [greedy_digits(best[:length, k]) for k, length in enumerate(lengths.tolist())]
        model.train(was_training)
        return self._score(read)

    def evaluate_engine(self, engine: Engine) -> Score:
        """See `Task.evaluate_engine`."""
        outputs = [engine(string.features)[0] for string in self.test_set]
        return self._score([greedy_digits(logits.argmax(-1)) for logits in outputs])

    def sample_input(self) -> npt.NDArray[np.float32]:
        """See `Task.sample_input`."""
        return self.test_set[0].features

    def fingerprint(self) -> str:
        """See `Task.fingerprint`."""
        return digest(self.recordings)

    def metadata(self) -> dict[str, Any]:
        """See `Task.metadata`."""
        return {"log_mel": asdict(self.log_mel)}

    def _score(self, read: Sequence[tuple[int, ...]]) -> Score:
        truth = [string.digits for string in self.test_set]
        errors = tuple(float(edit_distance(r, t)) for r, t in zip(read, truth, strict=True))
        return Score(errors, tuple(float(len(digits)) for digits in truth))

    @cached_property
    def _samples(self) -> dict[Path, npt.NDArray[np.float32]]:
        rate = self._rate
        return {r.path: read_wav(r.path, rate=rate)[0] for r in self.recordings}

    @cached_property
    def _rate(self) -> int:
        return read_wav(self.recordings[0].path)[1]

    @cached_property
    def _by_speaker(self) -> dict[bool, list[list[Recording]]]:
        groups: dict[bool, dict[str, list[Recording]]] = {True: {}, False: {}}
        for recording in self.recordings:
            groups[recording.test].setdefault(recording.speaker, []).append(recording)
        return {test: list(speakers.values()) for test, speakers in groups.items()}

    @cached_property
    def _made(self) -> dict[int, _String]:
        return {}

    def _training_string(self, number: int) -> _String:
        if number not in self._made:
            self._made[number] = self._string(self.log_mel, False, number)
        return self._made[number]

    def _string(self, mel: LogMel, test: bool, number: int) -> _String:
        """Makes a string; the same for the same number."""
        rng = np.random.default_rng((int(test), number))
        speakers = self._by_speaker[test]
        speaker = speakers[rng.integers(len(speakers))]
        count = int(rng.integers(_LENGTHS[0], _LENGTHS[1] + 1))
        chosen = [speaker[k] for k in rng.integers(0, len(speaker), count)]
        pieces = [self._pause(rng, 0.1)]
        for recording in chosen:
            pieces += [_leveled(self._samples[recording.path]), self._pause(rng)]
        pieces.append(self._pause(rng, 0.2))  # the last digit's time to be told
        clean = np.concatenate(pieces)
        speech = np.concatenate(pieces[1:-1:2])
        snr = self.snr_db + (0.0 if test else 10 * rng.random())
        noise = pink_noise(len(clean), self._rate, rng) * np.sqrt(
            np.mean(speech**2) / 10 ** (snr / 10)
        )
        signal = (clean + noise).astype(np.float32)
        return _String(mel(signal), tuple(int(recording.label) for recording in chosen))

    def _pause(self, rng: np.random.Generator, least_s: float = 0.0) -> npt.NDArray[np.float32]:
        seconds = least_s + self.pause_s * rng.random()
        return np.zeros(round(seconds * self._rate), np.float32)


def is_digit(label: str) -> bool:
    """Whether a label is a digit."""
    return len(label) == 1 and label in "0123456789"


def _leveled(samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    # Recordings differ in level by 20 dB: within a string, noise would drown some of them.
    level = np.sqrt(np.mean(samples**2))
    leveled: npt.NDArray[np.float32] = samples * np.float32(0.1 / max(level, 1e-6))
    return leveled


def pink_noise(count: int, rate: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise whose power falls as 1 / frequency, as that of rooms and streets; of power 1.

    Below `_LOWEST_HZ` there is none: it would count in the ratio of speech to noise, unheard.

    Shape:
        returns: (count,)
    """
    longer = 1 << max(count - 1, 0).bit_length()  # transforms of other lengths take 5 times as long
    spectrum = np.fft.rfft(rng.standard_normal(longer))
    frequencies = np.fft.rfftfreq(longer, 1 / rate)
    heard = frequencies >= _LOWEST_HZ
    spectrum[heard] /= np.sqrt(frequencies[heard])
    spectrum[~heard] = 0
    noise = np.fft.irfft(spectrum, longer)[:count]
    pink: npt.NDArray[np.float64] = noise / max(float(np.sqrt(np.mean(noise**2))), 1e-12)
    return pink


def greedy_digits(best: npt.NDArray[np.integer[Any]]) -> tuple[int, ...]:
    """Digits from the likeliest output of each step: repetitions joined, blanks left out.

    Shape:
        best: (seq_len,), 0 for blank and d + 1 for digit d.
    """
    changed = np.diff(best, prepend=_BLANK) != 0
    return tuple(int(output) - 1 for output in best[changed] if output != _BLANK)


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Fewest insertions, deletions and substitutions that make ``a`` into ``b``."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]
