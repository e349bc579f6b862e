"""The engine in CXXRTL: many random programs, every cell, and one layer at full size."""

from dataclasses import replace

import numpy as np
import pytest

from accelerator.models import ARCH, cell_model
from csbrnn.accelerator import compile_model, host_input, load_arch, run_image, trace
from csbrnn.accelerator.ladder import available_simulators, climb
from csbrnn.accelerator.loading import outcome_steps, stimulus_of
from csbrnn.bench import Layout
from csbrnn.bench.cases import random_model
from csbrnn.cells import CELLS, LSTM, Stack

from .random_image import ARCHS, many_outputs, random_image

if "cxxrtl" not in available_simulators():
    pytest.skip("needs Amaranth, Yosys and g++", allow_module_level=True)

from csbrnn.accelerator.rtl import State
from csbrnn.accelerator.rtl.cxxrtl import simulate_cxxrtl

STEPS = 3


def run(seed, /, *, direct=True, **options):
    image = random_image(ARCHS["2x2x2"], seed)
    rng = np.random.default_rng(seed)
    xs = rng.integers(-(1 << 15), 1 << 15, (STEPS, image.input_length))
    stimulus = stimulus_of(image, xs, limit=50_000, **options)
    outcome = simulate_cxxrtl(image.arch, stimulus, direct=direct)
    assert outcome.state == State.DONE
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))
    return outcome.cycles, trace(image, STEPS).end


def test_random_programs_are_right_to_the_bit_and_to_the_cycle():
    for seed in range(100, 140):
        cycles, modelled = run(seed)
        assert cycles == modelled, seed


def test_gaps_and_resets_at_random_moments_change_nothing():
    rng = np.random.default_rng(0)
    for seed in range(200, 220):
        gaps = {"input_gaps": 0.9 * rng.random(), "output_gaps": 0.9 * rng.random()}
        run(seed, seed=seed, **gaps)
        cycles, modelled = run(seed, reset_at=int(rng.integers(1, 700)))
        assert cycles == modelled, seed


def test_all_that_is_queued_when_the_run_ends_is_taken():
    image, xs = many_outputs(ARCHS["2x2x2"])
    stimulus = stimulus_of(image, xs, output_gaps=0.95, limit=50_000)
    outcome = simulate_cxxrtl(image.arch, replace(stimulus, drain_cycles=48))
    assert (outcome.output_cycles > outcome.cycles + 48).any()
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))


def test_loading_through_the_load_stream_is_the_same_as_directly():
    assert run(300, direct=True) == run(300, direct=False)


def test_every_cell_is_right_to_the_bit_and_to_the_cycle():
    rng = np.random.default_rng(1)
    for cell in CELLS:
        model = cell_model(rng, cell, layers=2, outputs=3)
        compiled = compile_model(model, ARCH)
        xs = host_input(compiled.step, rng.normal(0, 1, (4, 5)).astype(np.float32))
        found = climb(compiled, xs, ["cxxrtl"])
        assert found.agrees, (cell, found)


def test_depths_need_not_be_powers_of_two():
    """Each memory sees the load addresses of all, so some lie beyond its end."""
    arch = replace(ARCHS["2x2x2"], vector=50, words=100, strips=21, program=21, x=62, y=13)
    for seed in range(400, 403):
        image = random_image(arch, seed)
        rng = np.random.default_rng(seed)
        xs = rng.integers(-(1 << 15), 1 << 15, (STEPS, image.input_length))
        stimulus = stimulus_of(image, xs, limit=50_000)
        outcome = simulate_cxxrtl(arch, stimulus, direct=False)
        np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))
        assert outcome.cycles == trace(image, STEPS).end


@pytest.mark.slow
def test_a_layer_at_full_size_is_right_to_the_bit_and_to_the_cycle():
    """The speech network's first layer on 256 PEs, as whole steps; builds 256 PEs."""
    model = random_model(Stack(LSTM, 153, 1024), Layout((32, 32), 4), 13.5)
    compiled = compile_model(model, load_arch("pe256"))
    rng = np.random.default_rng(2)
    xs = host_input(compiled.step, rng.normal(0, 1, (2, 153)).astype(np.float32))
    found = climb(compiled, xs, ["cxxrtl"])
    assert found.agrees, found
