"""Where units appear, on networks small enough to list it."""

from torch import nn

from csbrnn.units.module import units_of

from .models import Net, Residual, Tied


def axes_of(model):
    units = units_of(model, what="can't test")
    return {
        name: [[space.name for space in axis] for axis in units.spaces.axes(weight)]
        for name, weight in units.weights().items()
    }


def test_a_bidirectional_projected_stack():
    axes = axes_of(Net(nn.LSTM(5, 8, 2, bidirectional=True, proj_size=3), 6))
    forward, backward = "rnn, layer 0", "rnn, layer 0, backward"
    outputs = [forward + ", projected", backward + ", projected"]
    assert axes["rnn.weight_ih_l0"] == [[forward] * 4, ["embedding"]]
    assert axes["rnn.weight_hh_l0_reverse"] == [[backward] * 4, outputs[1:]]
    assert axes["rnn.weight_hr_l0"] == [outputs[:1], [forward]]
    assert axes["rnn.weight_ih_l1_reverse"] == [["rnn, layer 1, backward"] * 4, outputs]
    assert axes["rnn.bias_hh_l0"] == [[forward] * 4]
    assert axes["head.weight"] == [["head"], ["middle"]]


def test_sums_make_units_one():
    axes = axes_of(Residual())
    assert axes["second.weight_hh_l0"] == [["first, layer 0"] * 4, ["first, layer 0"]]
    assert axes["third.weight_ih_l0"] == [["third, layer 0"], ["first, layer 0"] * 2]


def test_a_shared_table_makes_units_one():
    axes = axes_of(Tied())
    assert (
        axes["rnn.weight_ih_l0"] == axes["rnn.weight_hh_l0"] == [["embedding"] * 4, ["embedding"]]
    )
    assert axes["decoder.weight"] == axes["embedding.weight"]


def test_what_must_stay():
    spaces = units_of(Net(nn.GRU(5, 8), 8), what="can't test").spaces
    reasons = {space.name: space.fixed for space in spaces.all() if space.fixed}
    assert reasons == {
        "head": ["they are the model's output"],
        "embedding, tokens": ["they are tokens"],
    }
