import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.errors import ArgumentError
from csbrnn.report import AXES, frontier, read_study

from .results import DENSE, PATTERNS, RATES, make_result


@pytest.fixture
def study():
    return read_study(make_result())


def test_rows_become_curves_over_seeds(study):
    assert [curve.label for curve in study.curves] == list(PATTERNS)
    stripes = study.curve("stripes of 4")
    assert [point.rate for point in stripes.points] == list(RATES)
    first = stripes.points[0]
    assert first.seeds == 2
    assert first.gap == pytest.approx(0.025)
    assert first.means["value"] == pytest.approx(DENSE + 0.001 + 0.025)
    # Both seeds lose the same; their references are 0.002 apart, which deviates by 0.002 / sqrt(2),
    # and their mean by that / sqrt(2).
    assert first.seed_error == pytest.approx(0)
    assert study.dense.seed_error == pytest.approx(0.001)
    assert study.dense.means["value"] == pytest.approx(DENSE + 0.001)
    assert study.stderr == pytest.approx(0.01)


def test_the_error_over_seeds_is_that_of_the_gap_and_not_of_the_value():
    result = make_result(seeds=(0, 1, 2))
    for row in result["rows"]:
        if row["label"] == "unstructured":
            # Values that agree, from references that do not.
            row["value"] = DENSE + 0.05
            row["gap"] = row["value"] - (DENSE + 0.002 * row["seed"])
    point = read_study(result).curves[0].points[0]
    assert point.gap == pytest.approx(0.048)
    assert point.seed_error == pytest.approx(0.002 / math.sqrt(3))


def test_what_was_run_with_one_seed_is_drawn_beside_the_mean_of_all():
    """Seed 0 starts 0.002 better than the mean of three."""
    result = make_result(seeds=(0, 1, 2))
    result["rows"] = [r for r in result["rows"] if r["label"] in ("dense", "new") or not r["seed"]]
    study = read_study(result)
    alone, of_three = study.curve("unstructured").points[0], study.curve("new").points[0]
    assert (alone.seeds, of_three.seeds) == (1, 3)
    for point in (alone, of_three):
        assert point.means["value"] == pytest.approx(DENSE + 0.002 + point.gap)
        assert point.means["value_int8"] == pytest.approx(DENSE + 0.003 + point.gap)


def test_one_seed_has_no_spread():
    assert read_study(make_result(seeds=(0,))).curves[0].points[0].seed_error is None


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_a_loss_is_positive_whatever_is_better(lower_is_better):
    study = read_study(make_result(lower_is_better=lower_is_better))
    assert study.curves[0].points[0].gap == pytest.approx(0.02)


@pytest.mark.parametrize("gap", [0.005, 0.02, 0.025, 0.0333])
def test_the_rate_at_a_loss_is_exact_for_a_straight_line(study, gap):
    rate, at_least = study.curve("unstructured").rate_at(gap)
    assert not at_least
    assert rate == pytest.approx(2 ** (gap / 0.01))


def test_beyond_the_largest_rate_nothing_is_claimed(study):
    assert study.curve("unstructured").rate_at(0.2) == (32.0, True)
    assert study.curve("unstructured").rate_at(-0.001) == (1.0, False)


def test_the_first_crossing_counts():
    result = make_result(seeds=(0,), patterns=["unstructured"])
    by_rate = {row["pruning_rate"]: row for row in result["rows"]}
    by_rate[8.0]["gap"] = 0.1  # a failed trial: 16x (0.04) being better does not make 8x lossless
    rate, _ = read_study(result).curves[0].rate_at(0.045)
    assert 4 < rate < 8


def test_gaps_that_fall_are_noise_and_each_seed_counts_once():
    """What is pooled, 16x and 32x, is the mean of its seeds."""
    gaps = {4.0: [-0.01], 8.0: [0.0, 0.02], 16.0: [0.04], 32.0: [0.01, 0.03]}
    result = make_result(patterns=["unstructured"])
    rows = [row for row in result["rows"] if row["label"] == "dense"]
    for row in result["rows"]:
        if row["label"] != "dense" and row["seed"] < len(gaps[row["pruning_rate"]]):
            rows.append(row | {"gap": gaps[row["pruning_rate"]][row["seed"]]})
    curve = read_study(result | {"rows": rows}).curves[0]
    pooled = (0.04 + 0.01 + 0.03) / 3
    assert curve.fitted_gaps == pytest.approx({4: -0.01, 8: 0.01, 16: pooled, 32: pooled})
    assert curve.points[2].gap == pytest.approx(0.04)  # what was measured stays as it is
    rate, at_least = curve.rate_at(0.02)
    assert not at_least
    assert rate == pytest.approx(8 * 2 ** (0.01 / (pooled - 0.01)))
    assert curve.rate_at(pooled) == (32.0, True)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=4))
def test_the_fitted_curve_never_falls_and_is_the_closest(gaps):
    result = make_result(seeds=(0,), patterns=["unstructured"])
    result["rows"] = result["rows"][: 1 + len(gaps)]
    for row, gap in zip(result["rows"][1:], gaps, strict=True):
        row["gap"] = gap
    fitted = np.array(list(read_study(result).curves[0].fitted_gaps.values()))
    assert (np.diff(fitted) >= 0).all()
    # Of a convex set's closest point: no other is on the side where the measured ones are.
    for other in (np.sort(gaps), np.full(len(gaps), np.mean(gaps)), np.maximum.accumulate(gaps)):
        assert (np.array(gaps) - fitted) @ (other - fitted) <= 1e-12


def test_rates_are_those_that_patterns_have():
    result = make_result(seeds=(0,), patterns=["row-balanced"])
    for row in result["rows"]:
        if row["pruning_rate"] == 32:
            row["kept_weights"] = row["total_weights"] // 40
    curve = read_study(result).curves[0]
    assert [point.rate for point in curve.points] == list(RATES)
    assert curve.rate_at(1.0) == (40.0, True)
    assert curve.mean_at(40, "total_bits_int8") is not None
    assert AXES[0].cost_of(curve.points[-1]) == 40


def test_means_are_interpolated_on_logarithms(study):
    stripes = study.curve("stripes of 4")
    between = stripes.mean_at(math.sqrt(4 * 8), "total_bits_int8")
    assert between == pytest.approx(9.6e6 / math.sqrt(4 * 8))
    assert stripes.mean_at(8, "total_bits_int8") == pytest.approx(1.2e6)
    assert stripes.mean_at(2, "total_bits_int8") is None
    assert stripes.mean_at(2, "total_bits_int8", dense=9.6e6) == pytest.approx(4.8e6)
    assert stripes.mean_at(64, "total_bits_int8") is None
    assert study.curve("unstructured").mean_at(8, "us_per_step") is None


def test_other_files_and_studies_that_have_not_begun_are_refused():
    with pytest.raises(ArgumentError, match="this is none"):
        read_study({"rows": []})
    result = make_result()
    result["rows"] = [row for row in result["rows"] if row["pattern"] != "dense"]
    with pytest.raises(ArgumentError, match="dense reference is not trained yet"):
        read_study(result)


def test_the_frontier_is_what_no_other_is_cheaper_and_better_than():
    result = make_result(seeds=(0,), patterns=["stripes of 4", "row-balanced"])
    stairs = frontier(read_study(result), AXES[2])
    stripes = [(2 + 20 / r, DENSE + 0.0125 * math.log2(r) + 0.001) for r in (32, 16, 8, 4)]
    assert stairs[:4] == [pytest.approx(point) for point in stripes]
    assert stairs[-1] == pytest.approx((60.0, DENSE + 0.001))


@pytest.mark.parametrize("lower", [True, False])
def test_nothing_on_the_frontier_is_beaten(lower):
    study = read_study(make_result(lower_is_better=lower))
    every = [study.dense, *(point for curve in study.curves for point in curve.points)]
    sign = 1 if lower else -1
    for axis in AXES[1:]:
        networks = [
            (axis.cost_of(point), sign * axis.accuracy_of(point))
            for point in every
            if axis.cost_of(point) is not None
        ]
        stairs = [(cost, sign * accuracy) for cost, accuracy in frontier(study, axis)]
        best = {
            one
            for one in networks
            if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in networks)
        }
        assert set(stairs) == best


def test_networks_without_a_cost_are_on_no_frontier():
    study = read_study(make_result(patterns=["unstructured"]))  # it has no time
    assert len(frontier(study, AXES[2])) == 1


@pytest.mark.parametrize("name", ["../../evil", "..", "a/b", "", None, 3])
def test_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(ArgumentError, match="a study's name must be made of"):
        read_study(make_result() | {"name": name})


@pytest.mark.parametrize("lacks", ["rows", "task"])
def test_a_result_without_its_parts_is_none(lacks):
    result = make_result()
    del result[lacks]
    with pytest.raises(ArgumentError, match="its result must have a task and rows"):
        read_study(result)
