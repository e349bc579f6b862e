import numpy as np
import pytest
import torch

pytest.importorskip("kaldi_native_fbank")

from csbrnn.errors import ArgumentError
from csbrnn.nn import pack
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.connected_digits import ConnectedDigits, edit_distance, greedy_digits, pink_noise
from csbrnn.tasks.log_mel import LogMel
from csbrnn.tasks.task import Network
from csbrnn.tasks.training import Training

from .corpora import RATE, tone, write_digits, write_wav


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = write_digits(tmp_path_factory.mktemp("digits"))
    return ConnectedDigits(data=str(folder), test_strings=12, bands=20, snr_db=20)


def test_strings_are_fixed_and_of_three_to_seven_digits(task):
    again = ConnectedDigits(data=task.data, test_strings=12, bands=20, snr_db=20)
    for a, b in zip(task.test_set, again.test_set, strict=True):
        np.testing.assert_array_equal(a.features, b.features)
        assert a.digits == b.digits
        assert 3 <= len(a.digits) <= 7
    assert len({string.digits for string in task.test_set}) > 6


def test_more_noise_changes_features_and_not_digits(task):
    noisy = ConnectedDigits(data=task.data, test_strings=12, bands=20, snr_db=0)
    assert [s.digits for s in noisy.test_set] == [s.digits for s in task.test_set]
    assert np.abs(noisy.test_set[0].features - task.test_set[0].features).max() > 0.1


def test_features_are_scaled_and_causal(task):
    values = np.concatenate([task._training_string(k).features.ravel() for k in range(32)])
    assert values.mean() == pytest.approx(0, abs=1e-3)
    assert values.std() == pytest.approx(1, abs=1e-3)
    mel, signal = LogMel(RATE), tone(2, 1.0).astype(np.float32)
    whole, cut = mel(signal), mel(signal[: RATE // 2])
    np.testing.assert_array_equal(whole[: len(cut)], cut)
    # Windows of 25 ms that all fit into half a second, three a step.
    assert len(cut) == (1 + (500 - 25) // 10) // 3


class Speller(torch.nn.Module):
    """Outputs given digits, whatever it hears."""

    def __init__(self, strings):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))
        self.strings = strings

    def forward(self, features):
        best = torch.zeros(features.shape[:2], dtype=torch.long)
        for k, digits in enumerate(self.strings):
            best[: 2 * len(digits) : 2, k] = torch.tensor(digits) + 1
        return torch.nn.functional.one_hot(best, 11).float() + self.nothing, None


def test_the_score_counts_wrong_digits(task):
    truth = [string.digits for string in task.test_set]
    assert task.evaluate(Speller(truth)).value == 0
    wrong = [truth[0][1:], *truth[1:]]  # one left out
    assert task.evaluate(Speller(wrong)).value == pytest.approx(1 / sum(map(len, truth)))


def test_training_lowers_the_loss_and_the_engine_reads_the_same(task, tmp_path):
    model = task.build(Network(hidden_size=16))
    training = Training(steps=30, learning_rate=2e-2, warmup=5, batch=4)
    losses = []
    task.train(
        model,
        training,
        checkpoint=tmp_path / "c.pt",
        progress=lambda done, loss: losses.append(loss),
    )
    assert losses[-1] < 0.5 * losses[0]
    engine = compile_model(pack(model, metadata=task.metadata()))
    assert task.evaluate_engine(engine) == task.evaluate(model)
    logits, _ = engine(task.sample_input())
    features = torch.from_numpy(task.sample_input())[:, None]
    np.testing.assert_allclose(logits, model.eval()(features)[0][:, 0].detach(), atol=1e-4)


def test_labels_must_be_digits(tmp_path):
    for name in ("yes/a_nohash_0", "yes/b_nohash_0"):
        write_wav(tmp_path / f"{name}.wav", tone(1))
    (tmp_path / "testing_list.txt").write_text("yes/b_nohash_0.wav\n")
    with pytest.raises(ArgumentError, match="labels must be digits, not yes"):
        _ = ConnectedDigits(data=str(tmp_path)).recordings


def test_greedy_reading_joins_repetitions_and_drops_blanks():
    assert greedy_digits(np.array([0, 3, 3, 0, 3, 1, 1, 0, 0])) == (2, 2, 0)
    assert greedy_digits(np.array([0, 0])) == ()
    assert greedy_digits(np.array([5])) == (4,)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [((), (), 0), ((1, 2), (), 2), ((1, 2, 3), (1, 3), 1), ((1, 2), (2, 1), 2), ((1,), (2,), 1)],
)
def test_edit_distance(a, b, distance):
    assert edit_distance(a, b) == edit_distance(b, a) == distance


def test_pink_noise_falls_with_frequency():
    noise = pink_noise(2**14, 2**13, np.random.default_rng(0))  # half a hertz a bin
    power = np.abs(np.fft.rfft(noise)) ** 2
    assert power[:99].max() < 1e-12 * power.max()
    assert power[200:400].mean() == pytest.approx(10 * power[2000:4000].mean(), rel=0.5)


@pytest.mark.parametrize("count", [1, 1000, 28_003])
def test_pink_noise_has_power_one(count):
    noise = pink_noise(count, RATE, np.random.default_rng(0))
    assert noise.shape == (count,)
    assert np.mean(noise**2) == pytest.approx(1 if count > 1 else 0)
