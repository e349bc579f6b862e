import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.errors import ArgumentError
from csbrnn.search import Ladder, RateSearch

LADDERS = st.builds(
    Ladder,
    first=st.floats(1.01, 64),
    step=st.floats(0.5, 32),
    max_rate=st.just(128.0),
)


def climb(ladder, holds):
    """Runs a search against a curve. Returns it and what was tried."""
    search, tried = RateSearch(ladder), []
    while (rate := search.next()) is not None:
        verdict = holds(rate)
        tried.append((rate, verdict))
        search.record(rate, verdict)
        assert len(tried) < 2000
    return search, tried


def test_the_papers_walk():
    search, tried = climb(Ladder(4, 4), lambda rate: rate <= 13)
    assert tried == [(4, True), (8, True), (12, True), (16, False), (14, False), (13, True)]
    assert (search.best, search.failed) == (13, 14)
    assert search.why == "the step fell below a quarter of the first one, 4"


def test_a_first_rate_that_fails_is_climbed_down_from():
    search, tried = climb(Ladder(16, 4), lambda rate: rate <= 9)
    assert [rate for rate, _ in tried] == [16, 12, 8, 10, 9]
    assert search.best == 9


def test_nothing_holds():
    search, tried = climb(Ladder(8, 4), lambda rate: False)
    assert search.best is None
    assert [rate for rate, _ in tried] == [8, 4, 2]
    assert "no rate above 1 held" in search.why


def test_everything_holds_up_to_the_top():
    search, tried = climb(Ladder(4, 6, max_rate=20), lambda rate: True)
    assert [rate for rate, _ in tried] == [4, 10, 16, 20]
    assert search.why == "accuracy still held at max_rate, 20x"


@given(LADDERS, st.floats(0, 200))
def test_monotone_curves_are_met_to_a_quarter_step(ladder, true_rate):
    search, tried = climb(ladder, lambda rate: rate <= true_rate)
    if search.best is not None:
        assert search.best <= true_rate
    if search.best is None:
        # Below it, no rate that is a sum of quarter steps from the first lies above 1.
        assert true_rate < max(1 + ladder.step / 2, ladder.first)
    elif search.best < ladder.max_rate:
        assert true_rate < search.best + ladder.step / 4 * (1 + 1e-6)
    assert len(tried) == len({rate for rate, _ in tried})


@given(LADDERS, st.randoms(use_true_random=False))
def test_noise_neither_keeps_it_going_nor_makes_it_return_what_failed(ladder, noise):
    search, tried = climb(ladder, lambda rate: noise.random() < 0.6)
    failed = [rate for rate, holds in tried if not holds]
    assert search.best is None or (search.best, True) in tried
    assert all(search.best is None or search.best < rate for rate in failed)
    # Each failure halves the step or lowers the ceiling by it.
    assert len(tried) <= 5 + 4 * ladder.max_rate / ladder.step


def test_it_refuses_what_it_did_not_ask_for():
    with pytest.raises(ArgumentError, match=r"asked for the rate 4.*told of 5"):
        RateSearch(Ladder(4, 4)).record(5.0, True)
    done, _ = climb(Ladder(8, 4), lambda rate: False)
    with pytest.raises(ArgumentError, match="asked for the rate None"):
        done.record(2.0, True)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"first": 1}, "first_rate must be a finite number above 1, not 1"),
        ({"step": 0}, "step must be a finite number above 0, not 0"),
        ({"step": math.inf}, "step must be"),
        ({"first": "4"}, "first_rate must be"),
        ({"first": 8, "max_rate": 4}, "first_rate 8 is above max_rate 4"),
    ],
)
def test_ladders_that_lead_nowhere(values, text):
    with pytest.raises(ArgumentError, match=text):
        Ladder(**values)
