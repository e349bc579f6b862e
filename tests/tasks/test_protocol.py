import pytest

pytest.importorskip("torch")

import torch

from csbrnn.errors import ArgumentError
from csbrnn.search.recipe import read_recipe
from csbrnn.tasks.protocol import TrainingProtocol, forget
from csbrnn.tasks.settings import replaced
from csbrnn.tasks.training import Training
from search.recipes import recipe


@pytest.fixture
def read(tmp_path):
    return read_recipe(recipe(tmp_path))


def test_the_start_is_trained_once(tmp_path, read):
    steps = []
    for _ in range(2):
        read.protocol.pretrain(
            read.network, 0, tmp_path / "start", lambda *args: steps.append(args[1])
        )
    assert steps == list(range(1, 25))
    assert not (tmp_path / "start" / "checkpoint.pt").exists()


def test_networks_begin_with_the_same_one_and_end_at_what_was_measured(tmp_path, read):
    protocol = read.protocol
    start = protocol.pretrain(read.network, 0, tmp_path / "start")
    dense = protocol.fine_tune(read.network, 0, start, tmp_path / "dense")
    again = protocol.fine_tune(read.network, 0, start, tmp_path / "again")
    assert dense.metric == again.metric  # training repeats exactly
    pruned = protocol.fine_tune(
        read.network,
        0,
        start,
        tmp_path / "pruned",
        protocol.recipe_for(read.pattern, 4),
        tmp_path / "dense",
    )
    assert not pruned.model.training
    weight = pruned.model.rnn.weight_hh_l0
    assert int(weight.count_nonzero()) <= weight.numel() // 4
    stored = torch.load(tmp_path / "pruned" / "weights.pt", weights_only=True)
    torch.testing.assert_close(stored["rnn.weight_hh_l0"], weight.data, rtol=0, atol=0)
    assert protocol.task.evaluate(pruned.model).value == pruned.metric


def test_checkpoints_go_when_they_are_of_no_more_use(tmp_path):
    checkpoint, weights = tmp_path / "checkpoint.pt", tmp_path / "weights.pt"
    checkpoint.touch()
    forget(tmp_path)
    assert checkpoint.exists()  # training has not ended
    weights.touch()
    forget(tmp_path)
    assert not checkpoint.exists()
    weights.unlink()
    checkpoint.touch()
    forget(tmp_path, unfinished=True)
    assert not checkpoint.exists()


def test_settings_of_a_file():
    training = Training(steps=10, learning_rate=0.1)
    assert replaced("finish", training, {"steps": 20}).steps == 20
    with pytest.raises(ArgumentError, match=r"finish has the settings steps, .*no 'step'"):
        replaced("finish", training, {"step": 20})
    with pytest.raises(ArgumentError, match=r"finish: .*steps must be"):
        replaced("finish", training, {"steps": 0})
    with pytest.raises(ArgumentError, match="finish must be a table"):
        replaced("finish", training, 3)


def test_a_method_is_needed(read):
    with pytest.raises(ArgumentError, match=r"\[method\] must say how"):
        TrainingProtocol.read(read.protocol.task, {})


def test_units_are_put_in_order_before_they_are_pruned(tmp_path):
    changed = recipe(tmp_path)
    plain = read_recipe(changed).protocol
    changed["method"]["permute"] = True
    read = read_recipe(changed)
    assert plain.to_dict() | {"permute": True} == read.protocol.to_dict()
    start = plain.pretrain(read.network, 0, tmp_path / "start")
    found = [
        protocol.fine_tune(
            read.network, 0, start, tmp_path / name, protocol.recipe_for(read.pattern, 4)
        )
        for name, protocol in (("plain", plain), ("permuted", read.protocol))
    ]
    assert found[0].metric != found[1].metric
    kept = [int(trained.model.rnn.weight_hh_l0.count_nonzero()) for trained in found]
    assert kept[0] == kept[1] > 0


def test_permute_is_true_or_false(tmp_path):
    changed = recipe(tmp_path)
    changed["method"]["permute"] = 1
    with pytest.raises(ArgumentError, match="permute must be true or false, not 1"):
        read_recipe(changed)
