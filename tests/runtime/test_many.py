"""Several streams at once and whole sequences: the bits of one stream, step after step."""

import os

import numpy as np
import pytest

from csbrnn.cells import CELLS
from csbrnn.compiler import lower
from csbrnn.model import quantize
from csbrnn.runtime import Engine, available_isas, image

from . import models, native
from .test_native import cases, packed_models  # noqa: F401

BATCHES = (1, 2, 3, 4, 5, 8, 17, 70)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def small_chunks(monkeypatch):
    """Chunk lists also for models that are too small to gain by them."""
    monkeypatch.setattr(image, "CHUNK_WEIGHTS", 0)


def assert_same_bits(engine, rng, batch, steps=7):
    """A batch of sequences against streams of their own.

    With several threads, which hand over at every barrier, three streams stand for all.
    """
    program = engine.program
    xs = models.sequence(rng, program, steps, () if batch is None else (batch,))
    state = models.random_state(rng, engine, batch)
    ys, after = engine(xs, state)
    by_step, states = [], state
    for x in xs:
        y, states = engine.step(x, states)
        by_step.append(y)
    np.testing.assert_array_equal(np.stack(by_step), ys)
    assert states == after
    count = 1 if batch is None else batch
    for k in range(count) if engine.threads == 1 else {0, count // 2, count - 1}:
        own = engine.initial_state()
        own.data[0] = state.data[k]
        stream = engine.stream(own)
        for t in range(steps):
            x, y = (xs[t], ys[t]) if batch is None else (xs[t, k], ys[t, k])
            stream.step(np.asarray(x))
            np.testing.assert_array_equal(stream.y, y)
        np.testing.assert_array_equal(stream.state.data[0], after.data[k])


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_every_instruction_and_kind_of_section(isa, precision, rng, monkeypatch):
    small_chunks(monkeypatch)
    for packed in packed_models().values():
        if not packed.causal or packed.precision not in ("fp32", precision):
            continue
        program = lower(packed if precision == "fp32" else quantize(packed, precision))
        for threads in (1, 3):
            engine = Engine(program, threads, isa)
            for batch in (None, *BATCHES):
                assert_same_bits(engine, rng, batch)


@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(cell, rng, monkeypatch):
    small_chunks(monkeypatch)
    for layers in (1, 3):
        packed = models.model(rng, CELLS[cell], hidden_size=37, num_layers=layers)
        for threads in (1, 2):
            engine = Engine(lower(packed), threads)
            for batch in (None, 2, 9):
                assert_same_bits(engine, rng, batch)
            models.assert_right(engine, rng, steps=40)


def test_every_class_of_blocks(rng):
    """From 4 to 32 rows kept of 64, and more columns than one run holds."""
    make = lambda r, m, n: models.csb(r, m, n, (64, 64), 1, 0.12)  # noqa: E731
    packed = models.model(rng, hidden_size=300, input_size=200, make=make)
    engine = models.engine_of(packed)
    for batch in (None, 3, 6):
        assert_same_bits(engine, rng, batch, 3)


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize(
    "layout", [((64, 64), 1), ((1, 64), 1), ((8, 64), 8), ((16, 64), 16), None], ids=str
)
def test_int8_sections_of_several_stretches(isa, layout, rng, monkeypatch):
    """More weights than lanes pass through at once, and more lanes than do so together."""
    small_chunks(monkeypatch)
    make = models.dense if layout is None else lambda r, m, n: models.csb(r, m, n, *layout, 0.3)
    packed = models.model(rng, hidden_size=200, input_size=150, make=make)
    engine = Engine(lower(quantize(packed, "int8")), isa=isa)
    for batch in (None, 2, 7, 33):
        assert_same_bits(engine, rng, batch, 3)


def test_long_sequences_cross_chunks(rng):
    engine = models.engine_of(models.model(rng, hidden_size=64, input_size=64, num_layers=2))
    for steps in (31, 32, 33, 65, 100):
        assert_same_bits(engine, rng, None, steps)
        assert_same_bits(engine, rng, 3, steps)


def test_bidirectional_models_agree_with_the_interpreter(rng, monkeypatch):
    small_chunks(monkeypatch)
    for threads in (1, 2):
        engine = Engine(lower(models.branching_model(rng)), threads)
        for batch in (None, 3, 70):
            models.assert_right(engine, rng, steps=40, batch=batch)


def test_a_call_does_not_depend_on_the_one_before(rng):
    """Memory is lent again with what the last call left in it."""
    for precision in ("fp32", "int8"):
        packed = models.model(rng, hidden_size=64, input_size=64, num_layers=2)
        engine = models.engine_of(quantize(packed, precision))
        xs = models.sequence(rng, engine.program, 9, (5,))
        expected, after = engine(xs)
        for batch in (None, 2, 30):
            shape = (9, 64) if batch is None else (9, batch, 64)
            engine(np.full(shape, np.nan, np.float32))
            got, state = engine(xs)
            np.testing.assert_array_equal(got, expected)
            assert state == after


@pytest.mark.parametrize("make", [models.dense, lambda *a: models.csb(*a, (64, 64), 1, 0.3)])
def test_steps_of_batches_of_changing_size(make, rng):
    """Memory of a larger batch serves smaller ones."""
    packed = models.model(rng, hidden_size=64, input_size=64, make=make)
    engine = models.engine_of(quantize(packed, "int8"))
    for batch in (5, 2, 7, 0, 3):
        x = models.sequence(rng, engine.program, 1, (batch,))
        state = models.random_state(rng, engine, batch)
        expected, after = engine(x, state)
        got, stepped = engine.step(x[0], state)
        np.testing.assert_array_equal(got, expected[0])
        assert stepped == after


def check_many(program, cases, *, threads=1, isa="-", before=()):  # noqa: F811
    for base, _ in cases.values():
        inputs, parts = f"{base}.x", 1 if threads == 1 else 3
        native.run(*before, program, f"{base}.{parts}", inputs, 6, threads, isa)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [("-O3",), ("-O2", "-DCSBRNN_NO_SIMD")], ids=" ".join)
def test_without_python(build, compiler, flags, cases):  # noqa: F811
    program = build("harness_many.c", *flags, compiler=compiler)
    check_many(program, cases)
    check_many(program, cases, threads=3)


@pytest.mark.parametrize("isa", ["neon", "baseline"])
def test_aarch64(build, isa, cases):  # noqa: F811
    native.require("aarch64-linux-gnu-gcc", "qemu-aarch64")
    compiler = "aarch64-linux-gnu-gcc"
    program = build("harness_many.c", "-O2", compiler=compiler, link=("-static",))
    check_many(program, cases, isa=isa, before=("qemu-aarch64",))


@pytest.mark.slow
def test_sanitized(build, cases):  # noqa: F811
    flags = (*native.SANITIZE, "-fsanitize=address,undefined")
    program = build("harness_many.c", *flags)
    for isa in ("-", "avx2", "baseline") if os.uname().machine == "x86_64" else ("-",):
        check_many(program, cases, isa=isa)
    check_many(program, cases, threads=3)


@pytest.mark.slow
def test_with_thread_sanitizer(build, cases):  # noqa: F811
    program = build("harness_many.c", *native.SANITIZE, "-fsanitize=thread")
    for threads in (2, 3):
        check_many(program, cases, threads=threads)
