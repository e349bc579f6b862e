import json
import math

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.explore.outcome import Bounds, Cost, Outcome


def test_outcomes_pass_through_json():
    for outcome in (
        Outcome(2.5, Cost(3.5, 100, 7, "cpu")),
        Outcome(2.5, Cost(None, 100)),
        Outcome(math.nan, None, "accuracy", "2.9 after 7 steps"),
    ):
        again = Outcome.from_dict(json.loads(json.dumps(outcome.to_dict(), allow_nan=False)))
        assert repr(again) == repr(outcome)
        assert again.complete == (not outcome.ended)
    assert not Outcome(math.nan, Cost(1.0, 1)).complete


def test_a_bound_relative_to_the_reference():
    errors, scores = (Bounds(lower, 0.1, None, {}) for lower in (True, False))
    assert errors.threshold(None) is None
    assert errors.accurate(2.0, None) is None
    assert errors.threshold(2.0) == 2.1
    assert (errors.accurate(2.05, 2.0), errors.accurate(2.15, 2.0)) == (True, False)
    assert (scores.accurate(0.95, 1.0), scores.accurate(0.85, 1.0)) == (True, False)
    assert errors.accurate(math.nan, 2.0) is False


def test_an_absolute_bound_and_costs():
    bounds = Bounds(True, None, 2.0, {"step_us": 10.0, "nbytes": 1000})
    assert bounds.violation(Outcome(1.9, Cost(5.0, 900)), None) < 0
    assert bounds.violation(Outcome(2.5, Cost(5.0, 900)), None) == 0.5
    assert bounds.violation(Outcome(1.9, Cost(15.0, 900)), None) == 0.5
    assert bounds.violation(Outcome(1.9, Cost(None, 2000)), None) == 1.0
    assert bounds.too_costly(Cost(11.0, 10)) == "step_us 11 is above 10"
    assert bounds.too_costly(Cost(None, 10)) == ""


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((True, None, None, {}), "exactly one of"),
        ((True, 0.1, 2.0, {}), "exactly one of"),
        ((True, -0.1, None, {}), "bound.loss must be"),
        ((True, None, math.nan, {}), "bound.metric must be"),
        ((True, 0.1, None, {"nbytes": 0}), "bound.nbytes must be a positive number"),
    ],
)
def test_refusals(values, text):
    with pytest.raises(ArgumentError, match=text):
        Bounds(*values)
