"""The cycle model: by hand where that is possible, and what must hold for any program."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from csbrnn.accelerator import TIMING, compile_model, count_cycles, load_arch, trace
from csbrnn.accelerator.isa import Jump
from csbrnn.bench import Layout
from csbrnn.bench.cases import random_model
from csbrnn.cells import LSTM, Stack
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel

from .models import ARCH, ARCHES, cell_model


def test_one_product_by_hand():
    """IN, RUN, NEXT, WAIT, VOP, END."""
    arch = replace(ARCH, groups=1, streams=1, lanes=1, x_write=1)
    weight = DenseMatrix(np.full((3, 5), 0.5, np.float32))
    model = PackedModel((Linear("l", ("input",), weight),), Features(5), "l")
    image = compile_model(model, arch).image
    assert [type(code).__name__ for code in image.program] == [
        *("In", "Run", "Next", "Wait", "Vop", "End"),
        *("Wait", "In", "Run", "Wait", "Vop", "Jump"),
    ]
    t = TIMING
    begin = t.start  # IN
    begin += 5 + t.input + t.fetch  # RUN, which posts in its only cycle
    posted, last = begin, begin + t.post + 15 - 1  # three strips of five words
    begin += 1 + t.fetch  # NEXT
    begin += 1 + t.fetch  # WAIT
    waited = max(begin, posted + t.settle, last + t.stream)
    begin = waited + 1 + t.fetch  # VOP: three slots that are output, one a cycle
    end = max(begin + max(3, t.vector_min) + t.fetch, begin + 3 + t.vector + arch.levels)
    found = trace(image, 1)
    assert (found.posted.tolist(), found.ends.tolist()) == ([posted], [[last]])
    assert found.end == end
    assert count_cycles(image).latency_cycles == end


@pytest.mark.parametrize("arch", ARCHES.values(), ids=ARCHES)
@pytest.mark.parametrize("cell", ["lstm", "gru_reset_before", "lstm_projection"])
def test_what_always_holds(arch, cell):
    model = cell_model(np.random.default_rng(0), cell, layers=3, outputs=2)
    image = compile_model(model, arch).image
    found = trace(image, 5)
    segments = len(image.segment_names)
    words = image.segment_words.reshape(segments, -1)
    assert found.starts.shape == (5 * segments, arch.groups * arch.streams)
    np.testing.assert_array_equal(
        found.ends - found.starts + 1, np.concatenate([words] * 5)
    )  # a word a cycle
    assert (found.starts >= found.posted[:, None] + TIMING.post).all()
    assert (found.starts[1:] > found.ends[:-1]).all()
    assert (
        found.starts
        == np.maximum(
            found.posted[:, None] + TIMING.post,
            np.concatenate([np.full((1, words.shape[1]), -1), found.ends[:-1]]) + 1,
        )
    ).all()
    spans = found.spans
    assert all(b.start >= a.stop + TIMING.fetch for a, b in pairwise(spans))
    assert spans[-1].name == "END"
    assert found.end == spans[-1].stop - 1
    assert len(found.jumps) == 5
    # No more segments are unfinished than the queue holds.
    for k, at in enumerate(found.posted):
        finished = found.ends.max(axis=1)[:k] + TIMING.stream <= at
        assert (~finished).sum() < arch.queue


def test_the_period_is_that_of_a_long_run():
    image = compile_model(cell_model(np.random.default_rng(1), "gru", layers=3), ARCH).image
    assert any(isinstance(c, Jump) and c.toggle for c in image.program)
    ends = [trace(image, steps).end for steps in (20, 30)]
    assert count_cycles(image).cycles == (ends[1] - ends[0]) / 10


def test_streams_bound_the_step_where_they_never_wait():
    stack = Stack(LSTM, 40, 256, num_layers=2)
    model = random_model(stack, Layout((16, 16), 4), 8.0)
    found = count_cycles(compile_model(model, load_arch("pe64")).image)
    fullest, mean = found.words
    assert fullest <= found.cycles <= fullest + 8
    assert found.utilization > 0.97
    assert found.kept == sum(m.kept for m in model.matrices.values())
    assert found.utilization == found.kept / (64 * found.cycles)
    assert mean <= fullest
    assert sum(p["words_mean"] for p in found.phases) == pytest.approx(mean)
    assert found.latency_cycles > found.cycles
    json_able = found.to_dict()
    assert {"cycles", "kept_weights", "pes", "utilization", "latency_cycles"} <= json_able.keys()


def test_waiting_is_explained():
    """A small layer on many PEs: streams wait for the vector engine."""
    model = cell_model(np.random.default_rng(2), "lstm")
    found = count_cycles(compile_model(model, ARCH).image)
    waiting = [p for p in found.phases if p["waiting_max"]]
    assert waiting
    assert all(
        "the sequencer was at" in p["why"] or "the time to post" in p["why"] for p in waiting
    )
    period = sum(p["words_mean"] + p["waiting_mean"] for p in found.phases)
    assert period == pytest.approx(found.cycles, rel=0.02)
