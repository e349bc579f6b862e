"""Log-mel features, frame by frame: a frame depends on samples up to its end, and on no later."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from csbrnn.errors import ArgumentError
from csbrnn.optional import needed_for

__all__ = ["FEATURE_RANGES", "LogMel"]

FEATURE_RANGES: Final = {"bands": (1, 128), "stack": (1, 100)}
"""Of `LogMel`. More bands than that are narrower than a frequency that 25 ms tell from the next."""


@dataclass(frozen=True)
class LogMel:
    """Energies of mel bands, in log, several frames stacked to one step; by kaldi-native-fbank.

    Attributes:
        rate: Samples a second.
        bands: Mel bands.
        stack: Frames of 10 ms that make one step. Steps do not overlap, so a network runs
            ``100 / stack`` steps a second.
        mean: Subtracted from each energy.
        scale: Then multiplied.

    Units:
        Windows of 25 ms every 10 ms; energies in nats.
    """

    rate: int
    bands: int = 40
    stack: int = 3
    mean: float = 0.0
    scale: float = 1.0

    @property
    def size(self) -> int:
        """Features of a step."""
        return self.bands * self.stack

    def normalized(self, features: Sequence[npt.NDArray[np.float32]]) -> LogMel:
        """Returns the same, scaled to mean 0 and variance 1 over some of its features.

        Raises:
            ArgumentError: They don't vary.
        """
        values = np.concatenate([part.ravel() for part in features])
        deviation = values.std() if values.size else 0.0
        if not 0 < deviation < math.inf:
            raise ArgumentError("the recordings are silent, or too short for a step: no features")
        return replace(self, mean=float(values.mean()), scale=float(1 / deviation))

    def __call__(self, samples: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Returns the features of a whole signal; what is too short for a last step is left out.

        Shape:
            samples: (samples,) in [-1, 1]. Returns (steps, size).

        Raises:
            MissingDependencyError: kaldi-native-fbank is not installed.
        """
        with needed_for("a log-mel spectrogram", "speech"):
            import kaldi_native_fbank
        options = kaldi_native_fbank.FbankOptions()
        options.frame_opts.samp_freq = self.rate
        options.frame_opts.dither = 0  # random: the same samples must give the same features
        options.mel_opts.num_bins = self.bands
        online = kaldi_native_fbank.OnlineFbank(options)
        online.accept_waveform(self.rate, samples)
        online.input_finished()
        count = online.num_frames_ready // self.stack
        frames = np.empty((count * self.stack, self.bands), np.float32)
        for number in range(len(frames)):
            frames[number] = online.get_frame(number)
        features: npt.NDArray[np.float32] = (frames - np.float32(self.mean)) * np.float32(
            self.scale
        )
        return features.reshape(count, self.size)
