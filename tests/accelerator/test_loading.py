import dataclasses

import numpy as np
import pytest

from csbrnn.accelerator import Simulator
from csbrnn.accelerator.isa import Space
from csbrnn.accelerator.loading import load_beats, outcome_steps, stimulus_of
from csbrnn.accelerator.outcome import Outcome
from csbrnn.errors import ArgumentError

from .rtl.random_image import ARCHS, random_image

IMAGE = random_image(ARCHS["2x2x2"], 0)
ARCH = IMAGE.arch


def packets():
    """Every packet as (space, group, stream, address, entries of limbs)."""
    load, at = load_beats(IMAGE).tolist(), 0
    limbs = {1: 4, 2: -(-ARCH.word_bits // 32), 3: 1, 4: 1, 5: 1}
    while at < len(load):
        head, address, count = load[at : at + 3]
        size = limbs[head & 15]
        entries = np.array(load[at + 3 : at + 3 + count * size], np.uint32).reshape(count, size)
        yield head & 15, head >> 8 & 255, head >> 16 & 255, address, entries
        at += 3 + count * size


def test_every_memory_is_loaded_whole_and_from_the_start():
    found = {(space, g, p): entries for space, g, p, address, entries in packets() if not address}
    words = [value[0] | value[1] << 32 | value[2] << 64 | value[3] << 96
             for value in found[Space.PROGRAM, 0, 0].astype(object)]  # fmt: skip
    assert words == IMAGE.program_words()
    for g in range(ARCH.groups):
        vector = found[Space.VECTOR, g, 0][:, 0].astype(np.int64)
        np.testing.assert_array_equal(vector, IMAGE.vector[g] & (1 << ARCH.vector_bits) - 1)
        for p in range(ARCH.streams):
            np.testing.assert_array_equal(found[Space.WORDS, g, p], IMAGE.words[g][p])
    x = found[Space.X, 0, 0][:, 0]
    np.testing.assert_array_equal(np.stack([x & 0xFFFF, x >> 16], 1).ravel(), IMAGE.x & 0xFFFF)


def test_outcomes_become_steps_and_stray_beats_are_refused():
    xs = np.ones((2, IMAGE.input_length), np.int64)
    packets = [p.reshape(-1, ARCH.x_write) for p in Simulator(IMAGE).packets(xs)]
    last = np.concatenate([[False] * (len(p) - 1) + [True] for p in packets])
    beats = np.concatenate(packets)
    outcome = Outcome(beats, last, np.arange(len(beats)), 0, 2, 0, 0)
    np.testing.assert_array_equal(outcome_steps(IMAGE, outcome), Simulator(IMAGE).run(xs))
    for broken in ({"output_last": ~last}, {"outputs": beats[1:], "output_last": last[1:]}):
        with pytest.raises(ArgumentError, match="outputs must come in steps of"):
            outcome_steps(IMAGE, dataclasses.replace(outcome, **broken))


@pytest.mark.parametrize("seed", [-1, 1 << 64])
def test_the_seed_of_gaps_has_64_bits(seed):
    xs = np.zeros((1, IMAGE.input_length), np.int64)
    with pytest.raises(ArgumentError, match=rf"the seed must lie in 0\.\.2\^64 - 1, not {seed}"):
        stimulus_of(IMAGE, xs, seed=seed)
    assert stimulus_of(IMAGE, xs, seed=(1 << 64) - 1).seed == (1 << 64) - 1


def test_a_run_needs_a_step():
    with pytest.raises(ArgumentError, match="at least one step"):
        stimulus_of(IMAGE, np.zeros((0, IMAGE.input_length), np.int64))
