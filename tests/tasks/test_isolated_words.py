import pytest

pytest.importorskip("kaldi_native_fbank")

from csbrnn.nn import pack
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.isolated_words import IsolatedWords
from csbrnn.tasks.task import Network
from csbrnn.tasks.training import Training

from .corpora import write_digits


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
