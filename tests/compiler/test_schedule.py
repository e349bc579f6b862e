import numpy as np

from csbrnn.cells import GRU, Stack
from csbrnn.compiler.schedule import schedule
from csbrnn.model import Activation, Combine, Features, Linear, PackedModel

from .models import matrix, recurrent

RNG = np.random.default_rng(0)


def bidirectional(name, source, size, layers=1):
    return recurrent(RNG, name, source, Stack(GRU, size, 2, 0, layers, bidirectional=True))


def causal(name, source, size):
    return recurrent(RNG, name, source, Stack(GRU, size, 2))


def plan_of(*layers):
    return schedule(PackedModel(layers, Features(4), layers[-1].name))


def test_causal_chains_take_one_pass():
    plan = plan_of(
        Linear("a", ("input",), matrix(RNG, 4, 4)), causal("b", "a", 4), causal("c", "b", 2)
    )
    assert plan.reverse == (False,)
    assert plan.passes == {"a": 0, "b/l0": 0, "c/l0": 0}


def test_bidirectional_layers_share_passes():
    plan = plan_of(bidirectional("a", "input", 4, layers=3))
    assert plan.reverse == (False, True, False, True)
    assert plan.passes == {
        "a/l0": 0,
        "a/l0_reverse": 1,
        "a/l1": 2,
        "a/l1_reverse": 1,
        "a/l2": 2,
        "a/l2_reverse": 3,
    }
    assert plan.output == ("a/l2", "a/l2_reverse")


def test_neighbours_join_the_passes_of_a_bidirectional_layer():
    plan = plan_of(
        causal("before", "input", 4),
        bidirectional("both", "before", 2),
        Linear("after", ("both",), matrix(RNG, 4, 4)),
        causal("last", "after", 4),
    )
    assert plan.reverse == (False, True, False)
    assert plan.passes == {
        "before/l0": 0,
        "both/l0": 0,
        "both/l0_reverse": 1,
        "after": 1,
        "last/l0": 2,
    }


def test_concatenation_is_no_work():
    plan = plan_of(
        causal("a", "input", 4),
        Combine("wide", ("a", "input", "a"), "concatenate"),
        Activation("out", ("wide",), "tanh"),
    )
    assert list(plan.units) == ["a/l0", "out"]
    assert plan.units["out"].sources == (("a/l0", "input", "a/l0"),)
    assert plan.units["out"].length == 8
