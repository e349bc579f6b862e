import dataclasses
import math

import numpy as np
import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.nn import pack
from csbrnn.patterns import CSB
from csbrnn.pruning import ADMM, Recipe, prune_
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.char_lm import CharLM, CharLMTask, Training, bits_per_char, train
from csbrnn.tasks.task import CELLS, Network
from csbrnn.tasks.text import TextCorpus

CORPUS = TextCorpus.from_text("abcdefgh" * 300)
TRAINING = Training(steps=40, learning_rate=1e-2, batch=4, seq_len=16, warmup=4)


class KilledError(Exception):
    pass


def network():
    torch.manual_seed(0)
    return CharLM(len(CORPUS.vocabulary), hidden_size=16, embedding_size=8, dropout=0.1)


def pruned(model, steps=40):
    method = ADMM(admm_steps=steps // 2, retrain_steps=steps - steps // 2, interval=5)
    return prune_(model, Recipe(CSB((4, 8), 4), pruning_rate=2, method=method))


def kill_at(step):
    def progress(done, _bits):
        if done == step:
            raise KilledError

    return progress


def test_untrained_network_knows_nothing_and_training_learns(tmp_path):
    model = network()
    before = bits_per_char(model, CORPUS)
    assert before == pytest.approx(math.log2(len(CORPUS.vocabulary)), abs=0.3)
    train(model, CORPUS, TRAINING, checkpoint=tmp_path / "c.pt")
    assert bits_per_char(model, CORPUS) < 0.5 * before


def test_autocast_multiplies_in_bfloat16_and_keeps_the_weights(tmp_path):
    model, plain = network(), network()
    seen = set()
    model.output.register_forward_hook(lambda _, __, logits: seen.add(logits.dtype))
    training = dataclasses.replace(TRAINING, autocast="bfloat16")
    losses = []
    train(
        model,
        CORPUS,
        training,
        checkpoint=tmp_path / "c.pt",
        pruner=pruned(model),
        progress=lambda _, loss: losses.append(loss),
    )
    assert seen == {torch.bfloat16}
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    train(plain, CORPUS, TRAINING, checkpoint=tmp_path / "d.pt", pruner=pruned(plain))
    found, without = (bits_per_char(each, CORPUS) for each in (model, plain))
    assert found != without
    assert found == pytest.approx(without, abs=0.1)
    # A loss that was rounded to bfloat16 has 8 bits.
    rounded = torch.tensor(losses).mul(math.log(2)).bfloat16().float().div(math.log(2))
    assert not torch.allclose(torch.tensor(losses), rounded, rtol=1e-5)


def test_bits_per_char_does_not_depend_on_the_chunk():
    model = network()
    assert bits_per_char(model, CORPUS, chunk=7) == pytest.approx(
        bits_per_char(model, CORPUS), rel=1e-5
    )


@pytest.mark.parametrize("killed_at", [3, 17, 31])
def test_killed_training_resumes_to_the_same_weights(tmp_path, monkeypatch, killed_at):
    monkeypatch.setattr("csbrnn.tasks.training._CHECKPOINT_EVERY_S", 0.0)
    whole = network()
    pruner = pruned(whole)
    train(whole, CORPUS, TRAINING, checkpoint=tmp_path / "whole.pt", pruner=pruner)

    broken = network()
    broken_pruner = pruned(broken)
    with pytest.raises(KilledError):
        train(
            broken,
            CORPUS,
            TRAINING,
            checkpoint=tmp_path / "broken.pt",
            pruner=broken_pruner,
            progress=kill_at(killed_at),
        )
    broken_pruner.load_state_dict(pruner.state_dict())  # only to end its schedule: it is dropped
    resumed = network()
    resumed_pruner = pruned(resumed)
    train(resumed, CORPUS, TRAINING, checkpoint=tmp_path / "broken.pt", pruner=resumed_pruner)

    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0)
    assert resumed_pruner.complete
    assert np.count_nonzero(resumed.rnn.weight_hh_l0.detach()) <= 16 * 64 / 2


def test_checkpoints_of_other_settings_and_broken_ones_are_refused(tmp_path):
    path = tmp_path / "c.pt"
    train(network(), CORPUS, dataclasses.replace(TRAINING, steps=1), checkpoint=path)
    with pytest.raises(ArgumentError, match="made with Training"):
        train(network(), CORPUS, TRAINING, checkpoint=path)
    other = CharLM(len(CORPUS.vocabulary), hidden_size=9)
    with pytest.raises(ArgumentError, match="is of another network"):
        train(other, CORPUS, dataclasses.replace(TRAINING, steps=1), checkpoint=path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ArgumentError, match="not a readable checkpoint"):
        train(network(), CORPUS, TRAINING, checkpoint=path)


def test_learning_rate_warms_up_stays_and_decays():
    training = Training(steps=100, learning_rate=1.0, warmup=10)
    assert training.rate(0) == pytest.approx(0.1)
    assert training.rate(30) == training.rate(49) == 1.0
    assert training.rate(99) == pytest.approx(0.02, abs=0.01)
    assert Training(steps=100, learning_rate=1.0, decay_from=1.0).rate(99) == 1.0


def task(**settings):
    return CharLMTask(max_chars=3000, **settings)


def test_the_task_scores_what_bits_per_char_measures():
    model = task().build(Network(hidden_size=16))
    score = task().evaluate(model)
    assert score.value == pytest.approx(bits_per_char(model, task().corpus), rel=1e-6)
    assert sum(score.counts) == len(task().corpus.held_out) - 1


@pytest.mark.parametrize("cell", CELLS)
def test_the_deployed_network_scores_like_the_trained_one(cell):
    model = task().build(Network(cell, hidden_size=16, num_layers=2, dropout=0.3))
    engine = compile_model(pack(model, metadata=task().metadata()))
    assert task().evaluate_engine(engine).value == pytest.approx(task().evaluate(model).value)
    assert engine(task().sample_input())[0].shape[1] == len(task().corpus.vocabulary)


def test_networks_are_drawn_by_the_seed():
    a, b, c = (task().build(Network(hidden_size=8), seed=s).rnn.weight_hh_l0 for s in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_the_fingerprint_follows_the_text(tmp_path):
    (tmp_path / "a.txt").write_text("to be or not to be\n" * 100)
    (tmp_path / "b.txt").write_text("to be or not to be\n" * 100)
    a, b = (CharLMTask(data=str(tmp_path / name)) for name in ("a.txt", "b.txt"))
    assert a.fingerprint() == b.fingerprint() != task().fingerprint()
