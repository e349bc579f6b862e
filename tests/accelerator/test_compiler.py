from dataclasses import replace

import numpy as np
import pytest

from csbrnn.accelerator import compile_model, compile_step, count_cycles, fixed_step, load_arch
from csbrnn.bench import Layout
from csbrnn.bench.cases import random_model
from csbrnn.cells import LSTM, Stack
from csbrnn.commands.hw_model import load_hw_model
from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, quantize

from .models import ARCH, cell_model


@pytest.mark.parametrize(
    ("arch", "block", "row_group", "utilization"),
    [
        pytest.param("pe256", "4x64", 4, 0.98, marks=pytest.mark.slow),
        ("pe256", "32x32", 4, 0.97),
        ("pe256", "64x64", 4, 0.97),
        ("pe512", "32x32", 4, 0.95),
    ],
)
def test_the_paper_s_network_keeps_the_pes_busy(arch, block, row_group, utilization):
    """SR: LSTM 2 x 1024 from 153 inputs at 13.5x. benchmarks/ has the free rows, and MT."""
    model = load_hw_model("sr", block=block, row_group=row_group)
    found = count_cycles(compile_model(model, load_arch(arch)).image)
    assert found.utilization >= utilization
    assert found.cycles <= (3950 if arch == "pe256" else 2000)


def test_free_rows_keep_the_pes_busy():
    """Two layers of 512 units, because folding takes time; benchmarks/ has SR itself."""
    model = random_model(Stack(LSTM, 153, 512, num_layers=2), Layout((32, 32)), 13.5)
    found = count_cycles(compile_model(model, load_arch("pe64")).image)
    assert found.utilization >= 0.92


def test_balance_and_folding_pay():
    model = random_model(Stack(LSTM, 64, 256), Layout((32, 32)), 8.0, seed=1)
    step = fixed_step(model, load_arch("pe64"))
    balanced, plain = (compile_step(step, load_arch("pe64"), balance=b) for b in (True, False))
    assert balanced.loads.max() < plain.loads.max()
    assert balanced.loads.max() / balanced.loads.mean() < 1.02
    assert balanced.loads.sum() * 2 >= step.kept  # two weights a word, at most


def test_memories_that_are_too_small_say_by_how_much():
    tiny = replace(ARCH, words=64, strips=4, x=16, y=8, vector=16, program=8)
    with pytest.raises(UnsupportedModelError) as error:
        compile_model(cell_model(np.random.default_rng(0), "lstm", layers=2), tiny)
    text = str(error.value)
    for name in ("words", "strips", "x", "y", "vector", "program"):
        assert f"memory.{name}: " in text
    assert "too few" in text
    needs = {
        line.split("memory.")[1].split(":")[0]: int(line.split(": ")[1].split()[0])
        for line in text.splitlines()
        if "memory." in line
    }
    compile_model(  # what is said to be needed is enough
        cell_model(np.random.default_rng(0), "lstm", layers=2),
        replace(tiny, **{k: max(v, 8) + v % 2 * (k == "x") for k, v in needs.items()}),
    )


def test_numbers_that_don_t_fit():
    bias = np.array([20.0, 0.0], np.float32)
    weight = DenseMatrix(np.full((2, 3), 3e4, np.float32))
    model = PackedModel((Linear("l", ("input",), weight, bias),), Features(3), "l")
    with pytest.raises(UnsupportedModelError) as error:
        compile_model(model, ARCH)
    assert "'l.bias' holds 20; what vector memories hold must be below 16" in str(error.value)
    assert "sum 'l' needs" in str(error.value)


def test_what_is_rounded_again_is_noted():
    model = cell_model(np.random.default_rng(0), "lstm")
    assert fixed_step(quantize(model, "fixed12"), ARCH).notes == ()
    (note, *_) = fixed_step(quantize(model, "int8"), ARCH).notes
    assert "int8 rounded again, to 16 bits" in note
    notes = fixed_step(model, replace(ARCH, max_shift=0), input_range=8).notes
    assert any("digits of its weights dropped" in n for n in notes)


def test_stored_integers_are_the_accelerator_s():
    model = quantize(cell_model(np.random.default_rng(0), "lstm", block=(4, 4)), "fixed12")
    step = fixed_step(model, ARCH)
    stored = {m.to_quantized().values.tobytes() for m in model.matrices.values()}
    used = {p.weights.astype(np.int16).tobytes() for s in step.stages for p in s.products}
    assert used == stored


def test_ranges_that_are_known_better():
    model = cell_model(np.random.default_rng(0), "lstm_projection")
    proven = fixed_step(model, ARCH)
    known = fixed_step(model, ARCH, ranges={"rnn.h_l0": 1.5})
    (h,) = proven.states["rnn.h"]
    assert proven.x_fracs[h] < known.x_fracs[h] == 14
