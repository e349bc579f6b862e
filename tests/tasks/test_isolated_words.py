import numpy as np
import pytest

pytest.importorskip("kaldi_native_fbank")

from csbrnn.errors import ArgumentError
from csbrnn.nn import pack
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.isolated_words import IsolatedWords
from csbrnn.tasks.task import Network
from csbrnn.tasks.training import Training

from .corpora import tone, write_digits, write_wav


def test_tones_are_told_apart(tmp_path):
    task = IsolatedWords(data=str(write_digits(tmp_path)), bands=20)
    assert task.words == tuple("0123456789")
    model = task.build(Network(hidden_size=16))
    before = task.evaluate(model)
    assert before.value < 0.5
    assert len(before.counts) == 40
    training = Training(steps=40, learning_rate=2e-2, warmup=5, batch=16)
    task.train(model, training, checkpoint=tmp_path / "c.pt")
    after = task.evaluate(model)
    assert after.value > 0.9
    engine = compile_model(pack(model, metadata=task.metadata()))
    assert task.evaluate_engine(engine) == after
    assert task.sample_input().shape[1] == 60


def test_silence_and_mixed_rates_are_refused(tmp_path):
    folder = write_digits(tmp_path / "silent")
    for path in folder.glob("*.wav"):
        write_wav(path, np.zeros(2000))
    with pytest.raises(ArgumentError, match="the recordings are silent"):
        _ = IsolatedWords(data=str(folder), bands=20).log_mel
    folder = write_digits(tmp_path / "mixed")
    write_wav(folder / "3_bob_6.wav", tone(3), rate=16000)
    with pytest.raises(ArgumentError, match=r"3_bob_6\.wav: has 16000 samples a second"):
        _ = IsolatedWords(data=str(folder), bands=20).evaluate(None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"stack": 0}, "stack must be a whole number in 1..100"), ({"bands": "x"}, "bands must be")],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        IsolatedWords(**settings)
