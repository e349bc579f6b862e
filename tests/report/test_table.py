import io
import math

import pytest
from rich.console import Console

from csbrnn.report import grid_markdown, no_loss, no_loss_markdown, read_study, terminal_tables

from .results import WEIGHTS, make_result


def entries(**changes):
    study = read_study(make_result(**changes))
    return {entry.curve.label: entry for entry in no_loss(study)}


def test_no_loss_is_within_two_standard_errors_of_the_dense_network():
    found = entries()  # the error is 0.01, so a loss of 0.02 counts as none
    unstructured, stripes = found["unstructured"], found["stripes of 4"]
    assert unstructured.rate == pytest.approx(4)
    assert stripes.rate == pytest.approx(2 ** (0.02 / 0.0125))
    assert stripes.weights == pytest.approx(WEIGHTS / stripes.rate, rel=1e-5)
    assert unstructured.bits == pytest.approx(16 * WEIGHTS / 4)
    assert unstructured.us_per_step is None
    assert 60 > stripes.us_per_step > 7  # between dense and 4x


def test_another_tolerance():
    study = read_study(make_result())
    assert no_loss(study, 0.03)[0].rate == pytest.approx(8)
    assert no_loss(study, 1.0)[0].at_least


def test_patterns_compare_with_unstructured_at_equal_accuracy():
    stripes = entries()["stripes of 4"]
    rate = 2 ** (0.03 / 0.0125)  # where it loses what unstructured loses at 8x
    assert stripes.equal.rate == pytest.approx(rate / 8)
    assert stripes.equal.bits == pytest.approx((9.6 / rate) / (16 / 8))
    assert not stripes.equal.at_least
    wider = 2 ** ((0.03 + 2 * math.hypot(0.002, 0.002)) / 0.0125)
    assert stripes.within.rate == pytest.approx(wider / 8)
    assert stripes.within.bits == pytest.approx((9.6 / wider) / (16 / 8))
    assert entries()["unstructured"].equal.rate == pytest.approx(1)
    without = entries(patterns=["stripes of 4"])["stripes of 4"]
    assert (without.equal, without.within) == (None, None)


def better_than_dense(result, *labels):
    for row in result["rows"]:
        if row["label"] in labels:
            row["gap"] = -abs(row["gap"])
    return no_loss(read_study(result))


def test_nothing_is_claimed_where_nothing_measured_is_as_good_as_unstructured():
    """Gaps are zero at 1x by definition, which says nothing of what is better than dense."""
    stripes = better_than_dense(make_result(), "unstructured")[1]
    assert stripes.curve.label == "stripes of 4"
    assert stripes.equal is None


def test_what_is_better_at_the_largest_rate_has_at_least_that():
    result = make_result()
    stripes = better_than_dense(result, "stripes of 4")[1]
    assert stripes.equal.at_least
    assert stripes.equal.rate == pytest.approx(32 / 8)
    line = no_loss_markdown(read_study(result)).splitlines()[6]
    assert "| >= 4.00 (>= 4.00) | <= 0.15 (<= 0.15) |" in line


def test_a_recipe_says_where_to_compare():
    result = make_result()
    result["recipe"]["reference_rate"] = 4
    study = read_study(result)
    stripes = next(entry for entry in no_loss(study) if entry.curve.label == "stripes of 4")
    assert stripes.equal.rate == pytest.approx(2 ** (0.02 / 0.0125) / 4)
    assert "Relative: to unstructured at 4x" in no_loss_markdown(study)


def test_methods_compare_with_their_own_unstructured():
    study = read_study(make_result(methods=("admm", "gradual")))
    assert [entry.equal.rate for entry in no_loss(study)[:2]] == pytest.approx([1, 1])


def test_the_table_as_text():
    lines = no_loss_markdown(read_study(make_result())).splitlines()
    assert "within +0.0200" in lines[0]
    assert lines[4].startswith("| dense |  | yes | 1.0x | 1.00M | 8.00M | 60.0 |")
    assert lines[5] == "| unstructured | admm | no | 4.0x | 250k | 4.00M |  | 1.00 | 1.00 |"
    assert lines[8].startswith("| new | admm |  | 2.0x |")
    assert ">= 32.0x" in no_loss_markdown(read_study(make_result()), tolerance=1.0)


def test_the_grid_as_text():
    lines = grid_markdown(read_study(make_result())).splitlines()
    assert lines[2] == "| pattern | method | 4x | 8x | 16x | 32x |"
    assert lines[4].startswith("| unstructured | admm | +0.0200 ± 0.0000 | +0.0300 ± 0.0000 |")
    accuracy = grid_markdown(read_study(make_result(lower_is_better=False, seeds=(0,))))
    assert "| unstructured | admm | -0.0200 ± 0.0020 | -0.0300 ± 0.0020 |" in accuracy


def test_tables_fit_a_terminal():
    screen = io.StringIO()
    result = make_result()
    for row in result["rows"]:
        row["label"] = row["label"].replace("row-balanced", "bank-balanced, 64")
        row["method"] = row["method"] and "admm, whole units"
    Console(file=screen, width=80).print(terminal_tables(read_study(result)))
    shown = screen.getvalue()
    assert max(map(len, shown.splitlines())) <= 80
    for text in ("stripes of 4", "bank-balanced, 64", "+0.0250", "0.66", "10.8", "No loss"):
        assert text in shown
    assert "…" not in shown


def test_a_rate_that_was_not_met_is_told():
    result = make_result(seeds=(0,), patterns=["stripes of 4"])
    assert "In brackets" not in grid_markdown(read_study(result))
    for row in result["rows"]:
        if row["pruning_rate"] == 8:
            row["kept_weights"] = row["total_weights"] // 10
    page = grid_markdown(read_study(result))
    assert page.count("(10.0x)") == 1
    assert "the rate that a pattern has" in page


def test_unstructured_is_told_by_its_pattern_and_not_by_its_label():
    result = make_result()
    for row in result["rows"]:
        row["label"] = {"unstructured": "each for itself", "new": "unstructured"}.get(
            row["label"], row["label"]
        )
    found = {entry.curve.label: entry for entry in no_loss(read_study(result))}
    assert found["each for itself"].equal.rate == 1
    assert found["unstructured"].equal.rate < 1
