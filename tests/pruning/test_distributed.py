"""Two processes with different data must end at the same weights, without talking of pruning."""

import torch
from torch import distributed, multiprocessing

from csbrnn.numerics import INT8
from csbrnn.patterns import BlockCirculant, RowColumn
from csbrnn.pruning import ADMM, Distillation, Gradual, prune_, pruner_of
from csbrnn.pruning.rounding import rounded

from .models import Tagger, batch, recipe, task_loss

#: Ranks see different gradients, which decide what grows back, and what circulant weights become.
OTHERS = {
    "regrowth": recipe(Gradual(0, 2, 1, regrow=1.0, regrow_steps=4)),
    "circulant": recipe(ADMM(3, 3, interval=1), pattern=BlockCirculant(4)),
    "units": recipe(ADMM(3, 3, interval=1), pattern=RowColumn(), scope="units"),
}


def work(rank, directory):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{directory}/rendezvous", rank=rank, world_size=2
    )
    # Starting processes takes far longer than training in them: they serve both cases.
    for wrap_first in (True, False):
        train(rank, wrap_first, f"{directory}/{rank}-{wrap_first}.pt")
    for name, plan in OTHERS.items():
        train(rank, True, f"{directory}/{rank}-{name}.pt", plan)
    distributed.destroy_process_group()


def train(rank, wrap_first, path, plan=None):
    torch.manual_seed(rank)  # DistributedDataParallel must make the weights equal
    model = Tagger()
    plan = plan or recipe(
        ADMM(4, 2, interval=2, rho=1e-2),
        distill=Distillation(),
        precision="int8" if wrap_first else "fp32",
    )
    if wrap_first:
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        pruner = prune_(wrapped, plan)
    else:
        # Z starts from the weights prune_ sees: here they must be equal beforehand.
        torch.manual_seed(0)
        model = Tagger()
        pruner = prune_(model, plan)
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
    assert pruner_of(wrapped) is pruner
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=1e-2)
    for number in range(6):
        x, labels = batch(100 * rank + number)
        loss = pruner.loss(task_loss(wrapped(x), labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step()
    pruner.finalize()
    torch.save(model.state_dict(), path)


def test_all_ranks_end_at_the_same_weights(tmp_path):
    multiprocessing.spawn(work, args=(str(tmp_path),), nprocs=2)
    for case in OTHERS:
        first, second = (torch.load(tmp_path / f"{rank}-{case}.pt") for rank in (0, 1))
        for name, value in first.items():
            assert torch.equal(second[name], value), f"{case}: {name}"
        assert (first["encoder.weight_hh_l0"] == 0).any() == (case != "circulant")
    for wrap_first in (True, False):
        first, second = (torch.load(tmp_path / f"{rank}-{wrap_first}.pt") for rank in (0, 1))
        for name, value in first.items():
            assert torch.equal(second[name], value), name
        weight = first["encoder.weight_hh_l0"]
        if wrap_first:
            assert torch.equal(rounded(weight, INT8), weight)
            assert 0.9 * 64 * 16 / 4 < weight.count_nonzero() <= 64 * 16 / 4
        else:
            assert weight.count_nonzero() == 64 * 16 / 4
