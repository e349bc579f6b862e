"""Where the binary points are: inputs of any range, and ranges that can't be."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from csbrnn.accelerator import compile_model, fixed_step, host_input, host_output, run_fixed
from csbrnn.accelerator.simulator import run_image
from csbrnn.cells import LSTM, Cell, Parameter, Stack
from csbrnn.errors import ArgumentError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, PackedModel, Recurrent, run_reference

from .models import ARCH, ARCHES, cell_model

SMALL = 2.0**-13
"""Of inputs around 1e-4."""


def lstm(scale):
    """An LSTM for inputs of the given size, and such inputs; all else is the same."""
    rng = np.random.default_rng(0)
    stack = Stack(LSTM, 5, 12)
    parameters = {}
    for name, shape in stack.parameter_shapes().items():
        values = rng.normal(0, 0.5, shape).astype(np.float32)
        if shape[-1] == 5:
            values /= np.float32(scale)
        parameters[name] = DenseMatrix(values) if len(shape) == 2 else values
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(5), "rnn")
    xs = np.clip(rng.normal(0, 1, (30, 5)), -3, 3).astype(np.float32) * np.float32(scale)
    return model, xs


def test_small_inputs_have_as_many_digits_as_large_ones():
    errors = []
    for scale in (1.0, SMALL):
        model, xs = lstm(scale)
        step = fixed_step(model, ARCH, input_range=3.2 * scale)
        assert not step.notes
        errors.append(np.abs(run_fixed(step, ARCH, xs) - run_reference(model, xs)[0]).max())
    assert errors[1] < 1.5 * errors[0] < 2e-3
    model, xs = lstm(SMALL)
    coarse = run_fixed(fixed_step(model, ARCH, input_range=1), ARCH, xs)
    assert np.abs(coarse - run_reference(model, xs)[0]).max() > 10 * errors[1]


def test_small_inputs_are_right_in_the_simulator_of_the_hardware():
    model, xs = lstm(SMALL)
    compiled = compile_model(model, ARCH, input_range=3.2 * SMALL)
    assert compiled.step.input.frac == 15 + 11
    got = host_output(compiled.step, run_image(compiled.image, host_input(compiled.step, xs)))
    np.testing.assert_array_equal(got, run_fixed(compiled.step, ARCH, xs))


@pytest.mark.parametrize(("arch", "frac", "dropped"), [("small", 23, 4), ("coarse", 21, 6)])
def test_input_and_weights_share_the_digits_that_a_sum_has_no_room_for(arch, frac, dropped):
    """Weights of small inputs as large as others', so products with much smaller points add up."""
    model = cell_model(np.random.default_rng(1), "rnn_tanh", size=64)
    step = fixed_step(model, ARCHES[arch], input_range=SMALL)
    assert step.input.frac == frac
    (note,) = step.notes
    assert f"{dropped} digits of its weights dropped" in note


def test_inputs_of_1_and_more_lie_where_they_did():
    model = cell_model(np.random.default_rng(3), "gru")
    fracs = [fixed_step(model, ARCH, input_range=r).input.frac for r in (1, 1.5, 8, 1000)]
    assert fracs == [15, 14, 12, 5]


def test_the_input_s_point_moves_no_further_than_anything_could_use():
    model, _ = lstm(2.0**-20)
    step = fixed_step(model, replace(ARCH, max_shift=7), input_range=2.0**-40)
    assert step.input.frac <= 30


def test_the_input_s_range_may_stand_among_the_others():
    model = cell_model(np.random.default_rng(3), "gru")
    step = fixed_step(model, ARCH, ranges={"input": 1.0})
    assert step.input.frac == fixed_step(model, ARCH, input_range=1.0).input.frac == 15
    with pytest.raises(ArgumentError, match="positive, finite number, not inf"):
        fixed_step(model, ARCH, ranges={"input": float("inf")})


@pytest.mark.parametrize(
    "ranges",
    [
        {"rnn.pre_ifgo_l0": 0.5},  # a sum that other operations take in
        {"rnn.pre_ifgo_bias_l0": 0.5},
        {"scratch/1": 0.5},
        {"nothing": 0.5},
        {"rnn.h_l0": 0.0},
        {"rnn.h_l0": float("nan")},
    ],
)
def test_ranges_that_nothing_uses_or_that_can_t_be_are_refused(ranges):
    model = cell_model(np.random.default_rng(3), "lstm", outputs=2)
    names = r"\(input, out, rnn\.c_l0, rnn\.h_l0\)"
    with pytest.raises(ArgumentError, match=rf"what a step computes {names}, .* for {{'"):
        fixed_step(model, ARCH, ranges=ranges)


def test_a_range_of_tokens_is_refused(text_model):
    step = fixed_step(text_model, ARCH)
    with pytest.raises(ArgumentError, match="which does not hold for"):
        fixed_step(text_model, ARCH, ranges={step.input.source.vector: 1.0})


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_a_range_of_the_input_that_can_t_be_is_refused(value):
    model = cell_model(np.random.default_rng(3), "gru")
    with pytest.raises(ArgumentError, match=f"positive, finite number, not {value}"):
        fixed_step(model, ARCH, input_range=value)


def test_what_depends_on_a_growing_value_grows_too():
    """A chain of states, each taking what the next one was, behind one that adds up its input."""
    names = [f"s{k}" for k in range(7)]
    equations = [f"{a}_next = {b}" for a, b in pairwise(names)]
    equations.append(f"{names[-1]}_next = {names[-1]} + W @ x")
    cell = Cell(
        name="chain",
        states=dict.fromkeys([*names, "h"], "hidden"),
        parameters=(
            Parameter("weight", ("W",), "hidden", "input"),
            Parameter("ends", ("R", "Q"), "hidden", "hidden"),
        ),
        equations="\n".join([*equations, f"h_next = R @ {names[0]} + Q @ {names[-1]}"]),
    )
    stack = Stack(cell, 5, 6)
    rng = np.random.default_rng(0)
    parameters = {
        name: DenseMatrix(rng.normal(0, 0.5, shape).astype(np.float32))
        for name, shape in stack.parameter_shapes().items()
    }
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(5), "rnn")
    step = compile_model(model, ARCH).step
    ends = [step.x_fracs[part] for part in step.x_fracs if part.vector.partition("/")[0] != "input"]
    assert len(set(ends)) == 1
