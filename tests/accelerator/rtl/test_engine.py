"""The engine in Amaranth's simulator: random programs, gaps, resets, and every way to go wrong."""

import dataclasses

import numpy as np
import pytest

from csbrnn.accelerator import run_image, trace
from csbrnn.accelerator.isa import End, In, Vop, Wait, encode_instruction
from csbrnn.accelerator.loading import load_beats, outcome_steps, stimulus_of

from .random_image import ARCHS, many_outputs, random_image

pytest.importorskip("amaranth")

from csbrnn.accelerator.rtl import Code, State
from csbrnn.accelerator.rtl.simulation import simulate_amaranth

STEPS = 2


def case(name, seed, /, **options):
    image = random_image(ARCHS[name], seed)
    rng = np.random.default_rng(seed)
    xs = rng.integers(-(1 << 15), 1 << 15, (STEPS, image.input_length))
    return image, xs, stimulus_of(image, xs, limit=5000, **options)


@pytest.mark.parametrize(
    ("name", "seed"), [("2x2x2", 0), ("2x2x2", 1), ("1x1x1", 2), ("1x1x1", 3), ("3x1x4", 4)]
)
def test_random_programs_are_right_to_the_bit_and_to_the_cycle(name, seed):
    image, xs, stimulus = case(name, seed)
    outcome = simulate_amaranth(image.arch, stimulus)
    assert outcome.state == State.DONE
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))
    assert outcome.cycles == trace(image, STEPS).end


@pytest.mark.parametrize(("name", "seed"), [("2x2x2", 5), ("1x1x1", 6)])
def test_gaps_in_input_and_output_delay_and_change_nothing(name, seed):
    image, xs, stimulus = case(name, seed, input_gaps=0.4, output_gaps=0.9, seed=seed)
    outcome = simulate_amaranth(image.arch, stimulus)
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))
    assert outcome.cycles > trace(image, STEPS).end


def test_all_that_is_queued_when_the_run_ends_is_taken():
    image, xs = many_outputs(ARCHS["1x1x1"])
    stimulus = stimulus_of(image, xs, output_gaps=0.95, limit=5000)
    outcome = simulate_amaranth(image.arch, dataclasses.replace(stimulus, drain_cycles=48))
    assert (outcome.output_cycles > outcome.cycles + 48).any()
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))


@pytest.mark.parametrize("moment", [0.15, 0.5, 0.8])
def test_a_reset_at_any_moment_leaves_no_trace(moment):
    image, xs, _ = case("1x1x1", 7)
    end = trace(image, STEPS).end
    stimulus = stimulus_of(image, xs, limit=5000, reset_at=int(moment * end))
    outcome = simulate_amaranth(image.arch, stimulus)
    np.testing.assert_array_equal(outcome_steps(image, outcome), run_image(image, xs))
    assert outcome.cycles == end


def broken(change):
    """Run the 1x1x1 case with something changed; returns the outcome."""
    image, _, stimulus = case("1x1x1", 8)
    stimulus = change(image, stimulus)
    return simulate_amaranth(image.arch, dataclasses.replace(stimulus, drain_cycles=4))


def program_of(image, instructions):
    return load_beats(dataclasses.replace(image, program=tuple(instructions)))


def patched(image, stimulus, pc, word):
    """The load stream with one instruction's bits replaced."""
    load = stimulus.load.copy()
    load[3 + 4 * pc : 7 + 4 * pc] = [word >> (32 * k) & 0xFFFFFFFF for k in range(4)]
    return dataclasses.replace(stimulus, load=load)


@pytest.mark.parametrize("opcode", [0, 8, 15])
def test_an_illegal_opcode_stops_with_its_code(opcode):
    outcome = broken(lambda image, stimulus: patched(image, stimulus, 3, opcode))
    assert (outcome.state, outcome.code, outcome.pc) == (State.ERROR, Code.ILLEGAL_OPCODE, 3)


def test_running_off_the_program_stops_with_its_code():
    def change(image, stimulus):
        load = program_of(image, [In(image.input_length, 0), Wait(0)])
        return dataclasses.replace(stimulus, load=load)

    outcome = broken(change)
    assert (outcome.state, outcome.code, outcome.pc) == (State.ERROR, Code.PC_OVERRUN, 2)


@pytest.mark.parametrize(("pc", "code"), [(0, In(0, 0)), (4, Vop(n=0))])
def test_an_instruction_over_nothing_stops_with_its_code(pc, code):
    outcome = broken(lambda image, s: patched(image, s, pc, encode_instruction(code)))
    assert (outcome.state, outcome.code, outcome.pc) == (State.ERROR, Code.ZERO_COUNT, pc)


@pytest.mark.parametrize("early", [True, False])
def test_a_misplaced_end_of_input_stops_with_its_code(early):
    def change(image, stimulus):
        last = stimulus.input_last.copy()
        last[np.flatnonzero(last)[0] - early] ^= True
        return dataclasses.replace(stimulus, input_last=last)

    outcome = broken(change)
    assert (outcome.state, outcome.code, outcome.pc) == (State.ERROR, Code.INPUT_TLAST, 0)


def test_a_stream_without_an_end_is_stopped_and_does_not_hang():
    def change(image, stimulus):
        (stream,) = image.streams[0]
        endless = stream._replace(end=np.zeros_like(stream.end))
        load = load_beats(dataclasses.replace(image, streams=((endless,),)))
        return dataclasses.replace(stimulus, load=load)

    assert broken(change).code == Code.STREAM_OVERRUN


def test_draining_what_a_stream_adds_to_stops_with_its_code():
    # The program's first WAIT becomes a long drain of the half that the stream is at.
    drain = Vop(n=12, row=0, drain=1, half=1, drain_shift=8)

    def change(image, stimulus):
        return patched(image, stimulus, 3, encode_instruction(drain))

    codes = []
    for seed in range(6):
        image, _, stimulus = case("1x1x1", seed)
        stimulus = dataclasses.replace(change(image, stimulus), drain_cycles=4)
        codes.append(simulate_amaranth(image.arch, stimulus).code)
        if codes[-1] == Code.Y_CONFLICT:
            return
    raise AssertionError(f"no conflict was noticed: {codes}")


@pytest.mark.parametrize("head", [[0, 0, 1], [9, 0, 1], [2 | 5 << 8, 0, 1], [1, 31, 2]])
def test_a_load_packet_for_nothing_stops_with_its_code(head):
    def change(image, stimulus):
        load = np.concatenate([np.array(head, np.uint32), stimulus.load])
        return dataclasses.replace(stimulus, load=load)

    outcome = broken(change)
    assert (outcome.state, outcome.code) == (State.ERROR, Code.LOAD)


def test_no_steps_are_done_at_once():
    image, _, stimulus = case("1x1x1", 9)
    load = program_of(image, [End()])
    idle = dataclasses.replace(stimulus, load=load, steps=0, drain_cycles=4)
    outcome = simulate_amaranth(image.arch, idle)
    assert (outcome.state, outcome.cycles, len(outcome.outputs)) == (State.DONE, 0, 0)
