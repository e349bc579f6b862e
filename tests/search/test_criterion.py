import math

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.search import Criterion


def test_tolerance_is_in_the_metrics_units():
    criterion = Criterion(tolerance=0.02)
    assert criterion.judge([2.0], [2.015]).holds
    assert not criterion.judge([2.0], [2.025]).holds
    assert criterion.judge([2.0], [1.5]).loss == -0.5


def test_scores_may_rise():
    criterion = Criterion(lower_is_better=False, tolerance=1.0)
    verdict = criterion.judge([97.0], [95.0])
    assert (verdict.holds, verdict.loss) == (False, 2.0)
    assert criterion.judge([97.0], [99.0]).holds


def test_two_standard_errors_of_the_difference():
    dense = [1.0, 1.2, 1.1]  # standard deviation 0.1
    limit = Criterion().limit(dense, 3)
    assert limit == pytest.approx(2 * 0.1 * math.sqrt(2 / 3))
    assert Criterion().judge(dense, [1.1 + 0.99 * limit] * 3).holds
    assert not Criterion().judge(dense, [1.1 + 1.01 * limit] * 3).holds
    # Of one seed, chance makes more.
    assert Criterion().limit(dense, 1) > limit


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_divergence_does_not_hold(bad):
    assert not Criterion(tolerance=1e9).judge([1.0, 1.0], [1.0, bad]).holds


def test_refusals():
    with pytest.raises(ArgumentError, match="two seeds at least"):
        Criterion().judge([1.0], [1.0])
    with pytest.raises(ArgumentError, match="must be finite"):
        Criterion(tolerance=1.0).judge([math.nan], [1.0])
    with pytest.raises(ArgumentError, match="one metric on either side"):
        Criterion(tolerance=1.0).judge([1.0], [])
    with pytest.raises(ArgumentError, match="tolerance must be"):
        Criterion(tolerance=-1.0)
