import sys

import numpy as np
import pytest

from csbrnn.errors import MissingDependencyError
from csbrnn.tasks.log_mel import LogMel

from .corpora import RATE, tone


def test_a_tone_is_where_its_frequency_is():
    pytest.importorskip("kaldi_native_fbank")
    mel = LogMel(RATE, bands=40, stack=2)
    peaks = [mel(tone(digit, 0.3).astype(np.float32))[3, :40].argmax() for digit in (0, 3, 9)]
    assert peaks == sorted(set(peaks))
    assert mel.size == 80


def test_scaling_is_linear_and_the_same_samples_give_the_same_features():
    pytest.importorskip("kaldi_native_fbank")
    samples = tone(4, 0.3).astype(np.float32)
    plain = LogMel(RATE)(samples)
    np.testing.assert_array_equal(LogMel(RATE)(samples), plain)
    np.testing.assert_allclose(
        LogMel(RATE, mean=2.0, scale=0.5)(samples), (plain - 2) / 2, rtol=1e-5, atol=1e-5
    )


def test_what_is_too_short_gives_no_steps():
    pytest.importorskip("kaldi_native_fbank")
    assert LogMel(RATE)(np.zeros(100, np.float32)).shape == (0, 120)


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "kaldi_native_fbank", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'csbrnn\[speech\]'"):
        LogMel(RATE)(np.zeros(1000, np.float32))
