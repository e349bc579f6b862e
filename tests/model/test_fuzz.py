import pytest

from .fuzz import run_fuzz


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_five_thousand_mutants(seed):
    outcomes = run_fuzz(5_000, seed)
    # Both outcomes must be common, or the mutations are too timid or too coarse to find anything.
    assert outcomes["loaded"] > 200
    assert outcomes["refused"] > 2000
