import numpy as np
import pytest

from csbrnn.cells import CELLS
from csbrnn.compiler import MatVec, lower
from csbrnn.runtime import build_image, image, layout
from csbrnn.runtime.chunks import chunk_order

from . import models


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def order(packed):
    program = lower(packed)
    return program, chunk_order(program, program.passes[0])


def names(group):
    return [
        code.matrix.removeprefix("rnn.") if isinstance(code, MatVec) else type(code).__name__
        for sum_ in group.sums
        for code in sum_
    ]


def test_input_products_come_first_layer_by_layer(rng):
    _, groups = order(models.model(rng, num_layers=2))
    assert [names(group) for group in groups] == [
        ["weight_ih_l0"],
        ["weight_hh_l0", "LSTMGates"],
        ["weight_ih_l1"],
        ["weight_hh_l1", "LSTMGates"],
    ]
    assert [group.states for group in groups] == [
        (),
        ("rnn.c_l0", "rnn.h_l0"),
        (),
        ("rnn.c_l1", "rnn.h_l1"),
    ]


def test_both_input_products_of_a_gru_are_ahead(rng):
    _, groups = order(models.model(rng, CELLS["gru"]))
    assert names(groups[0]) == ["weight_ih_l0", "weight_ih_l0"]
    assert groups[1].states == ("rnn.h_l0",)
    assert len(groups) == 2


def test_what_follows_the_last_layer_is_for_all_steps(rng):
    _, groups = order(models.language_model(rng))
    assert names(groups[0])[0] == "Lookup"
    assert names(groups[-1]) == ["head.weight", "Softmax"]
    assert groups[-1].states == ()


@pytest.mark.parametrize("cell", CELLS)
def test_every_instruction_is_there_once_and_after_what_it_needs(cell, rng):
    from csbrnn.compiler.access import reads, writes

    program, groups = order(models.model(rng, CELLS[cell], num_layers=2))
    codes = program.passes[0].instructions
    found = [code for group in groups for sum_ in group.sums for code in sum_]
    assert len(found) == len(codes)
    place = {id(code): k for k, code in enumerate(found)}
    for b, later in enumerate(codes):
        for earlier in codes[:b]:
            read = {s.vector for s in reads(later, program.vectors)}
            written = {s.vector for s in writes(earlier, program.vectors)}
            if read & written:
                assert place[id(earlier)] < place[id(later)]
    # Each state is carried exactly once.
    carried = [name for group in groups for name in group.states]
    assert sorted(carried) == sorted(m for members in program.states.values() for m in members)


def test_small_models_have_no_chunk_list(rng, monkeypatch):
    from csbrnn.model import quantize

    def lists(packed):
        data = build_image(lower(packed)).data
        header = data[: layout.HEADER.itemsize].view(layout.HEADER)[0]
        passes = data[int(header["passes"]["offset"]) :][: layout.PASS.itemsize]
        return int(passes.view(layout.PASS)[0]["chunk_instructions"])

    large = models.model(rng, hidden_size=64, input_size=64)
    assert lists(large) == 5  # product; two states, product, gates
    assert lists(quantize(large, "bf16")) == 5
    assert lists(quantize(large, "int8")) == 0  # not that large
    monkeypatch.setattr(image, "CHUNK_WEIGHTS_INT8", 64 * 4 * 64)
    assert lists(quantize(large, "int8")) == 7  # two of them quantize
    assert lists(models.model(rng, hidden_size=16, input_size=16)) == 0
    assert image.CHUNK_WEIGHTS > 16 * 4 * 16
