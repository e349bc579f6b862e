import gc

import pytest
import torch

from csbrnn.pruning.lifetime import pruners


@pytest.fixture(autouse=True)
def _one_thread_and_a_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_pruner_outlives_its_test():
    """Most tests stop in the middle of a schedule: their pruners must not warn of it later."""
    yield
    for pruner in list(pruners.values()):
        pruner.detach()
    gc.collect()
