import pytest

from csbrnn import cells
from csbrnn.bench import UnavailableError, run_bench
from csbrnn.bench.contender_csbrnn import CSBRNN

from .fakes import tiny_case, token_case

PACKED, UNPRUNED = CSBRNN


@pytest.mark.parametrize("threads", [1, 2])
def test_pruned_and_unpruned_are_checked_and_timed(threads):
    result = run_bench(
        [token_case()], (threads,), ["csbrnn"], 0.05, modes=("step", "cold", "sequence")
    )

    if threads == 1:  # a machine may have one CPU only
        assert not result.skipped
    assert {(row.variant, row.mode) for row in result.rows} in (
        {(v, m) for v in ("as packed", "unpruned") for m in ("step", "sequence")},
        set(),
    )


@pytest.mark.parametrize("cell", cells.CELLS.values(), ids=lambda cell: cell.name)
def test_every_cell(cell):
    result = run_bench([tiny_case(cell, pruned=True)], (1,), ["csbrnn"], 0.01, modes=("step",))

    assert [row.layout for row in result.rows] == ["block=4x8 row_group=4", "dense"]


def test_unpruned_reads_more():
    case = tiny_case(pruned=True)
    with PACKED.open(case, 1) as packed, UNPRUNED.open(case, 1) as unpruned:
        assert packed.nbytes < unpruned.nbytes


def test_a_dense_model_runs_once():
    with pytest.raises(UnavailableError, match="stored dense"), UNPRUNED.open(tiny_case(), 1):
        pass
