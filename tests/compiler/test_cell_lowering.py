import numpy as np
import pytest

from csbrnn.compiler import Copy, Elementwise, MatVec, lower

from .models import assert_lowered_right, make_cell, single


def lowered(equations, **options):
    """The instructions of one step, checked against the reference."""
    rng = np.random.default_rng(0)
    model = single(rng, make_cell(equations, **options), input_size=5, hidden_size=4)
    return list(assert_lowered_right(model, rng).passes[0].instructions)


def products(code):
    return [
        (i.destination, i.matrix, i.row_start, i.row_stop) for i in code if isinstance(i, MatVec)
    ]


def test_sums_of_neighbouring_rows_are_one():
    code = lowered("h_next = tanh(W @ x + U @ h)\nc_next = tanh(V @ x + R @ h)")
    assert products(code) == [
        ("rnn.pre_hc_l0", "rnn.weight_ih_l0", 0, 8),
        ("rnn.pre_hc_l0", "rnn.weight_hh_l0", 0, 8),
    ]


def test_sums_of_crossed_rows_are_two():
    code = lowered("h_next = tanh(W @ x + R @ h)\nc_next = tanh(V @ x + U @ h)")
    assert len({destination for destination, *_ in products(code)}) == 2


def test_sums_of_other_operands_are_two():
    code = lowered("h_next = tanh(W @ x + U @ h)\nc_next = tanh(V @ x + R @ c)")
    assert len({destination for destination, *_ in products(code)}) == 2


def test_a_bias_of_one_part_alone_is_zero_elsewhere():
    rng = np.random.default_rng(0)
    model = single(rng, make_cell("h_next = tanh(W @ x)\nc_next = tanh(V @ x + d)"))
    program = lower(model)
    expected = model.layers[0].parameters["bias_l0"][4:]
    np.testing.assert_array_equal(program.constants["rnn.pre_hc_bias_l0"], [0, 0, 0, 0, *expected])


@pytest.mark.parametrize(
    "equations",
    [
        "h_next = c\nc_next = h",
        "h_next = c\nc_next = tanh(h + W @ x)",
        "h_next = c\nc_next = c",
        "h_next = U @ c\nc_next = U @ h",
        "h_next = b\nc_next = d",
        "h_next = tanh(c)\nc_next = h",
        "a = tanh(W @ x + h)\nh_next = a\nc_next = a",
        "h_next = c + h\nc_next = tanh(R @ (U @ h))",
        "h_next = R @ b\nc_next = U @ (b * d)",
        "h_next = b + 1\nc_next = b * d",
        "a = h * b\nh_next = a * tanh(U @ (R @ h))\nc_next = tanh(a * (W @ x))",
    ],
)
def test_new_states_do_not_disturb_old_ones(equations):
    lowered(equations)


def test_three_states_in_a_ring():
    states = {"h": "hidden", "c": "hidden", "k": "hidden"}
    code = lowered("h_next = c\nc_next = k\nk_next = h", states=states)
    assert all(isinstance(i, Copy) for i in code)


def test_states_and_parameters_without_use():
    assert lowered("h_next = h\nc_next = c") == []


def test_products_of_products_need_stages():
    code = lowered("h_next = tanh(U @ sigmoid(R @ (W @ x)))\nc_next = c")
    assert [type(i) for i in code] == [MatVec, MatVec, Elementwise, MatVec, Elementwise]


def test_lengths_are_not_mixed():
    matrices = {"down": (("D",), "proj", "hidden"), "back": (("B",), "input", "proj")}
    rng = np.random.default_rng(0)
    cell = make_cell(
        "p_next = tanh(D @ (h * 0.5)) + p\nh_next = W @ (x * (B @ p))\nc_next = c",
        states={"h": "hidden", "c": "hidden", "p": "proj"},
        matrices=matrices,
    )
    program = assert_lowered_right(single(rng, cell), rng)
    lengths = [i.length for i in program.passes[0].instructions if isinstance(i, Elementwise)]
    assert sorted(lengths) == [3, 4, 5]


def test_missing_vectors_outside_of_sums_are_zero():
    rng = np.random.default_rng(0)
    cell = make_cell(
        "h_next = U @ b + cos\ncos_next = sigmoid(b) * h", states={"h": "hidden", "cos": "hidden"}
    )
    program = assert_lowered_right(single(rng, cell, missing=("bias",)), rng)
    assert not program.constants["rnn.bias_l0"].any()


def test_huge_biases_overflow_without_a_warning():
    rng = np.random.default_rng(0)
    model = single(rng, make_cell("h_next = tanh(W @ x + b + d)\nc_next = c"))
    model.layers[0].parameters["bias_l0"][:] = np.finfo(np.float32).max
    assert np.isinf(lower(model).constants["rnn.pre_h_bias_l0"]).all()
