import math

import pytest

from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.explore.space import DENSE, Configuration, Space, coarseness, family, in_groups

DEFAULTS = {
    "cell": ["lstm"],
    "hidden_size": [8],
    "num_layers": [1],
    "pattern": [DENSE],
    "pruning_rate": [1],
    "precision": ["fp32"],
}


def read(check=lambda configuration: None, **table):
    return Space.read(table, DEFAULTS, check)


def test_all_combinations_in_order():
    space = read(cell=["lstm", "gru"], hidden_size=[16, 8], pruning_rate=[2], pattern=["csb"])
    assert [(c.cell, c.hidden_size) for c in space.configurations] == [
        ("lstm", 16),
        ("lstm", 8),
        ("gru", 16),
        ("gru", 8),
    ]
    assert space.left_out == ()


def test_blocks_and_row_groups_go_to_patterns_that_have_them_open():
    space = read(
        pattern=["csb", "csb(block=2x2)", "unstructured", "block_circulant"],
        block=["8x16", "16x16", "8"],
        row_group=[1, 16],
        pruning_rate=[8],
    )
    patterns = {c.pattern for c in space.configurations}
    assert patterns == {
        "csb(block=8x16,row_group=1)",
        "csb(block=16x16,row_group=1)",
        "csb(block=16x16,row_group=16)",
        "csb(block=2x2,row_group=1)",
        str(next(p for p in patterns if p.startswith("unstructured"))),
        "block_circulant(block=8)",
    }
    assert any("16 does not divide 8" in reason for reason in space.left_out)


def test_dense_has_no_rates():
    space = read(pattern=[DENSE, "csb"], pruning_rate=[2, 4])
    dense = [c for c in space.configurations if c.pattern == DENSE]
    assert [c.pruning_rate for c in dense] == [1.0]
    assert len(space.configurations) == 3


def test_what_cannot_be_trained_is_left_out_with_its_reason():
    def check(configuration):
        if configuration.precision == "int8" and configuration.pattern != DENSE:
            raise RecipeError("no such\npair")

    space = read(check, pattern=[DENSE, "csb"], precision=["fp32", "int8"], hidden_size=[8, 9])
    assert len(space.configurations) == 6
    assert space.left_out == ("csb(block=32x32,row_group=1) 1x int8: no such pair",)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"size": [3]}, "'size' is no dimension; there are cell, hidden_size"),
        ({"cell": ["rnn"]}, "space.cell: must be one of lstm, gru, .*, not 'rnn'"),
        ({"precision": ["int4"]}, "space.precision: must be one of fp32"),
        ({"hidden_size": [0]}, "space.hidden_size: must be a whole number"),
        ({"num_layers": [1.5]}, "space.num_layers: must be a whole number"),
        ({"pruning_rate": [0.5]}, "space.pruning_rate: must be a number, at least 1"),
        ({"pattern": ["nothing"]}, "space.pattern: a pattern's name must be one of"),
        ({"cell": "lstm"}, "space.cell: must be a list"),
        ({"cell": []}, "space.cell: must be a list of one or more"),
    ],
)
def test_refusals(table, text):
    with pytest.raises(ArgumentError, match=text):
        read(**table)


def test_nothing_left():
    def check(configuration):
        raise RecipeError("never")

    with pytest.raises(
        ArgumentError, match=r"none of its combinations can work:\n  - dense 1x fp32: never"
    ):
        read(check)


def test_coarseness_orders_blocks_within_a_family():
    patterns = ["csb(block=4x8,row_group=1)", "csb(block=8x8,row_group=1)"]
    assert family(patterns[0]) == family(patterns[1]) != family("csb(block=8x8,row_group=8)")
    assert coarseness(patterns[0]) == 32 < coarseness(patterns[1])
    assert coarseness("csb(block=allxall,row_group=1)") == math.inf
    assert coarseness("block_circulant(block=8)") == 64
    assert coarseness(DENSE) == coarseness("unstructured") == 0


def test_keys_are_names_of_directories_and_differ():
    made = [
        Configuration("lstm", 8, 1, "csb(block=4x8,row_group=1)", rate, precision)
        for rate in (2.0, 2.0000001)
        for precision in ("fp32", "int8")
    ]
    keys = {c.key for c in made}
    assert len(keys) == 4
    assert all(set(key) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.") for key in keys)
    assert str(made[0]) == "lstm 1 x 8, csb(block=4x8,row_group=1) 2x, fp32"
    assert Configuration(**made[0].to_dict()) == made[0]


def test_a_space_in_which_nothing_can_be_pruned_is_refused():
    def check(configuration):
        if configuration.pattern != DENSE:
            raise RecipeError("method has no setting 'typo'")

    with pytest.raises(ArgumentError, match=r"no pattern can work, only dense:\n  - .*'typo'"):
        read(check, pattern=["csb", DENSE], pruning_rate=[2])
    assert len(read(check, pattern=[DENSE], pruning_rate=[2]).configurations) == 1


def test_what_is_left_out_is_told_reason_by_reason():
    lines = ["a 2x fp32: too: long", "b 2x fp32: wrong", "a 4x fp32: too: long", "c: too: long"]
    assert in_groups(lines) == ["a 2x fp32, and 2 more: too: long", "b 2x fp32: wrong"]
    assert in_groups([]) == []
