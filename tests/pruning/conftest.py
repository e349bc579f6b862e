import pytest
import torch

from csbrnn.pruning import pruner


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _quiet_farewells(monkeypatch):
    """Most tests leave a schedule in the middle, and mean it. (test_lifetime.py overrides this.)"""
    monkeypatch.setattr(pruner, "farewell", lambda progress: None)


@pytest.fixture
def _native_lstm(monkeypatch):
    """PyTorch's own LSTM: oneDNN's has no bf16 on processors without AVX-512 BF16."""
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
