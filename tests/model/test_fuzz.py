from .fuzz import run_fuzz


def test_ten_thousand_mutants():
    outcomes = run_fuzz(10_000, seed=0)
    # Both outcomes must be common, or the mutations are too timid or too coarse to find anything.
    assert outcomes["loaded"] > 300
    assert outcomes["refused"] > 3000
