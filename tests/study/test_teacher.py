import os

import pytest
import torch
from torch import nn

from csbrnn.study import teacher as module
from csbrnn.study.teacher import Remembering, answers_of


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return self.linear(x), "state"


@pytest.fixture
def network():
    return Network()


def test_the_same_inputs_are_answered_from_memory(network):
    x, answers = torch.randn(4, 3), {}
    first = Remembering(network, answers)(x)
    again = Remembering(network, answers)(x.clone())
    assert torch.equal(first, network.linear(x))
    assert torch.equal(again, first)
    assert not again.requires_grad
    assert network.calls == 1


def test_other_inputs_are_not(network):
    teacher, x = Remembering(network, {}), torch.zeros(4, 3)
    for inputs in (x, x.reshape(2, 2, 3), x.int().float() + 1):
        assert torch.equal(teacher(inputs), network.linear(inputs))
    with torch.autocast("cpu", torch.bfloat16):
        assert teacher(x).dtype == torch.bfloat16
    assert network.calls == 4


def test_memory_is_bounded(network, monkeypatch):
    monkeypatch.setattr(module, "_MOST_BYTES", 2 * 4 * 2 * 4)
    teacher = Remembering(network, {})
    for value in (0, 1, 2, 0, 1, 2):
        assert torch.equal(
            teacher(torch.full((4, 3), float(value))),
            network.linear(torch.full((4, 3), float(value))),
        )
    assert network.calls == 4  # 0 and 1 are remembered, 2 is not


def test_answers_are_those_of_one_network_as_it_is_now(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights.pt").touch()
    answers = answers_of(tmp_path / "a")
    answers["x", False] = torch.zeros(1)
    assert answers_of(tmp_path / "a") is answers
    os.utime(tmp_path / "a" / "weights.pt", ns=(1, 1))
    assert answers_of(tmp_path / "a") == {}
    assert answers_of(tmp_path / "b") == {}
