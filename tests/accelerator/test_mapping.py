import numpy as np
import pytest

from csbrnn.accelerator import fixed_step
from csbrnn.accelerator.mapping import find_spaces, map_units
from csbrnn.cells import CELLS

from .models import ARCHES, cell_model


@pytest.mark.parametrize("cell", CELLS)
def test_what_meets_lies_together(cell):
    step = fixed_step(
        cell_model(np.random.default_rng(0), cell, layers=2, outputs=3), ARCHES["small"]
    )
    spaces = find_spaces(step)
    assert len(spaces) == 3 + 2 * ("proj" in cell)
    of = {member: space for space in spaces for member in space.members}
    for o in step.operations:
        assert {id(of["v", part]) for part in (o.d, *o.reads)} == {id(of["v", o.d])}
        assert o.sum is None or of["s", o.sum] is of["v", o.d]
        assert of["v", o.d].length == o.d.length


@pytest.mark.parametrize("arch", ARCHES.values(), ids=ARCHES)
@pytest.mark.parametrize("balance", [True, False])
@pytest.mark.parametrize("hidden", [1, 12, 13])
def test_every_unit_has_a_place_of_its_own(arch, balance, hidden):
    model = cell_model(np.random.default_rng(0), "gru", hidden=hidden, block=(4, 4))
    step = fixed_step(model, arch)
    spaces = find_spaces(step)
    kernels = {p: list(p.kernels()) for s in step.stages for p in s.products}
    map_units(arch, step, spaces, kernels, balance=balance)
    for space in spaces:
        places = set(zip(space.group.tolist(), space.slot.tolist(), strict=True))
        assert len(places) == space.length
        assert 0 <= space.group.min() <= space.group.max() < arch.groups
        assert space.slot.max() == space.slots - 1
        assert space.slots <= max(1.25 * -(-space.length // arch.groups), 4)
