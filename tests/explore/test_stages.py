import dataclasses

import pytest

pytest.importorskip("torch")

from csbrnn.explore.outcome import Outcome
from csbrnn.explore.stages import plan

from .models import outcome_of, recipe


@pytest.fixture
def read(tmp_path):
    return recipe(tmp_path)


def follow(read, measure=outcome_of):
    """Does all that stages ask for. Returns the last plan and what was asked, by stage."""
    outcomes, asked = {}, []
    while True:
        now = plan(read.space, read.reference, read.bounds, outcomes)
        fresh = [c for c in now.candidates if c not in outcomes]
        assert len(fresh) == len(now.candidates)  # nothing is asked for twice
        if not fresh:
            return now, asked
        assert len(asked) < 40
        asked += [(now.stage, c) for c in fresh]
        outcomes |= {c: measure(c) for c in fresh}


def test_blocks_then_cells_then_sizes(read):
    now, asked = follow(read)
    assert list(dict.fromkeys(stage for stage, _ in asked)) == [
        "reference",
        "block",
        "cell",
        "size",
    ]
    assert now.stage == "free"
    # 8x8 loses 0.32 beyond 0.08 even at its mildest; 8 units lose 0.5, 12 lose 0.25 + 0.08.
    assert any("csb(block=8x8,row_group=1) misses" in note for note in now.notes)
    assert any("8 units miss" in note for note in now.notes)
    patterns = {c.pattern for c in now.left}
    assert "csb(block=4x8,row_group=1)" in patterns
    assert "csb(block=8x8,row_group=1)" not in patterns
    assert {c.hidden_size for c in now.left} == {16}
    assert {c.cell for c in now.left} == {"lstm", "gru"}  # equals: neither beats the other
    assert len(asked) < len(read.space.configurations) / 4


def test_every_stage_asks_at_the_mildest(read):
    _, asked = follow(read)
    for stage, configuration in asked:
        if stage != "reference":
            assert (configuration.pruning_rate, configuration.precision) == (2.0, "fp32")
        if stage in ("block", "cell"):
            assert configuration.hidden_size == 16


@pytest.mark.parametrize("precisions", [["int8", "fixed12", "fixed16"], ["fixed16", "fp32"]])
def test_the_most_exact_precision_is_the_mildest_however_they_are_listed(tmp_path, precisions):
    space = {"precision": precisions}
    _, asked = follow(recipe(tmp_path, space=space))
    most = "fp32" if "fp32" in precisions else "fixed16"
    assert {c.precision for stage, c in asked if stage != "reference"} == {most}


def test_a_cell_that_is_better_in_everything_wins(read):
    def measure(configuration):
        outcome = outcome_of(configuration)
        if configuration.cell == "gru":
            cost = outcome.cost
            cheaper = dataclasses.replace(cost, step_us=cost.step_us / 2, nbytes=cost.nbytes // 2)
            return Outcome(outcome.metric - 0.01, cheaper)
        return outcome

    now, _ = follow(read, measure)
    assert {c.cell for c in now.left} == {"gru"}
    assert "cell: lstm is beaten by gru in accuracy and in every cost" in now.notes


def test_a_cell_that_fails_is_dropped(read):
    def measure(configuration):
        outcome = outcome_of(configuration)
        return (
            dataclasses.replace(outcome, ended="accuracy", reason="diverged")
            if configuration.cell == "gru"
            else outcome
        )

    now, _ = follow(read, measure)
    assert {c.cell for c in now.left} == {"lstm"}


def test_where_no_pattern_holds_the_dense_networks_are_left(read):
    def measure(configuration):
        outcome = outcome_of(configuration)
        return outcome if configuration.pattern == "dense" else Outcome(9.0, outcome.cost)

    now, _ = follow(read, measure)
    assert now.stage == "free"
    assert {c.pattern for c in now.left} == {"dense"}


def test_a_trial_that_cannot_be_trained_counts_as_one_that_fails(read):
    def measure(configuration):
        if "block=4x" in configuration.pattern:
            return Outcome(float("nan"), None, "refused", "does not fit")
        return outcome_of(configuration)

    now, _ = follow(read, measure)
    assert not any("csb" in c.pattern for c in now.left)


def test_workers_get_different_candidates(read):
    outcomes = {read.reference: outcome_of(read.reference)}
    now = plan(read.space, read.reference, read.bounds, outcomes)
    assert now.stage == "block"
    assert len(now.candidates) == len(set(now.candidates)) == 2  # a family each
