import math

import pytest

pytest.importorskip("optuna")

import optuna

from csbrnn.explore.pruner import BoundPruner
from csbrnn.explore.storage import quiet


def study_of(curves, lower_is_better=True):
    study = optuna.create_study(direction="minimize" if lower_is_better else "maximize")
    for at_step_5, final in curves:
        study.add_trial(optuna.create_trial(value=final, intermediate_values={5: at_step_5}))
    return study


def running(metric, step=5):
    return optuna.create_trial(
        state=optuna.trial.TrialState.RUNNING, intermediate_values={step: metric}
    )


@pytest.fixture(autouse=True)
def silent():
    with quiet():
        yield


@pytest.mark.parametrize("sign", [1, -1])
def test_it_compares_with_the_bound_and_not_with_better_trials(sign):
    # The largest improvement from step 5 on is 0.4; 1.25 times that is 0.5.
    curves = [(sign * a, sign * b) for a, b in ((1.2, 1.0), (1.3, 0.9), (1.2, 1.1))]
    study = study_of(curves, lower_is_better=sign > 0)
    pruner = BoundPruner(sign * 2.0, lower_is_better=sign > 0)
    assert not pruner.prune(study, running(sign * 2.49))
    assert pruner.prune(study, running(sign * 2.51))


def test_what_is_not_known_ends_nothing():
    two = study_of([(1.2, 1.0)] * 2)
    three = study_of([(1.2, 1.0)] * 3)
    bound = BoundPruner(2.0, lower_is_better=True)
    assert not bound.prune(two, running(9.0))
    assert bound.prune(three, running(9.0))
    assert not bound.prune(three, running(9.0, step=6))
    assert not BoundPruner(None, lower_is_better=True).prune(three, running(9.0))
    assert not bound.prune(three, optuna.create_trial(state=optuna.trial.TrialState.RUNNING))


def test_divergence_is_given_up_at_once():
    assert BoundPruner(None, lower_is_better=True).prune(study_of([]), running(math.nan))


def test_curves_that_got_worse_promise_nothing():
    study = study_of([(1.0, 1.2)] * 3)
    pruner = BoundPruner(2.0, lower_is_better=True)
    assert pruner.prune(study, running(2.01))
    assert not pruner.prune(study, running(2.0))
