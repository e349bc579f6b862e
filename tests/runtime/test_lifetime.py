"""Engines and streams copied, forked, dropped and left: nothing is freed that is in use."""

import copy
import ctypes
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from csbrnn.compiler import lower
from csbrnn.errors import ArgumentError
from csbrnn.runtime import Engine
from csbrnn.runtime.buffers import aligned
from csbrnn.runtime.image import build_image
from csbrnn.runtime.library import Model, library

from . import models


@pytest.fixture
def engine():
    return models.engine_of(models.model(np.random.default_rng(0), hidden_size=40), threads=2)


def test_copies_are_the_engine_itself(engine):
    assert copy.copy(engine) is engine
    assert copy.deepcopy({"engine": engine})["engine"] is engine
    with pytest.raises(TypeError, match="save the packed model"):
        pickle.dumps(engine)


def test_streams_are_not_copied(engine):
    stream = engine.stream()
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match=r"engine\.stream\(stream\.state\)"):
            take(stream)


def test_buffers_of_a_stream_stay_where_they_are(engine):
    stream = engine.stream()
    for name in ("x", "y"):
        with pytest.raises(AttributeError):
            setattr(stream, name, np.zeros_like(getattr(stream, name)))


@pytest.mark.parametrize("value", [True, 2.0, "2", None, 0, 257])
def test_threads_are_a_number(engine, value):
    with pytest.raises(ArgumentError, match=r"threads must be an integer in 1\.\.256"):
        Engine(engine.program, value)


@pytest.mark.parametrize("value", [True, -1, 2.0])
def test_a_batch_is_a_number(engine, value):
    with pytest.raises(ArgumentError, match="batch must be None or an integer"):
        engine.initial_state(value)


def test_masked_values_are_not_taken_for_others(engine):
    width = engine.program.streams["input"].width
    with pytest.raises(ArgumentError, match=r"x\.filled\(0\)"):
        engine.step(np.ma.masked_less(np.zeros(width, np.float32), 1))


def test_a_child_that_is_forked_during_a_step_can_step(engine):
    xs = np.zeros((200, engine.program.streams["input"].width), np.float32)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            engine(xs)

    worker = threading.Thread(target=work)
    worker.start()
    stream = engine.stream()
    try:
        for _ in range(10):
            child = os.fork()
            if child == 0:
                import signal

                signal.alarm(20)  # a hang ends the child
                engine.step(xs[0])
                stream.step(xs[0])
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        worker.join()


LEFT = """
import sys, threading, time
import numpy as np
from csbrnn.cells import LSTM, Stack
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, PackedModel, Recurrent
from csbrnn.runtime import compile, engine
engine.SERIAL_BELOW = 0
rng = np.random.default_rng(0)
stack = Stack(LSTM, 64, 256)
parameters = {
    name: DenseMatrix(rng.normal(size=shape).astype(np.float32))
    if len(shape) == 2 else np.zeros(shape, np.float32)
    for name, shape in stack.parameter_shapes().items()
}
network = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(64), "rnn")
compiled = compile(network, threads=2)
xs = np.zeros((5000, 64), np.float32)
def work():
    while True:
        compiled(xs)
threading.Thread(target=work, daemon=True).start()
time.sleep(0.2)
"""


def test_a_process_may_end_in_the_middle_of_a_step():
    for _ in range(3):
        ended = subprocess.run(
            [sys.executable, "-c", LEFT], capture_output=True, text=True, check=False
        )
        assert (ended.returncode, ended.stderr) == (0, "")


PINNED = """
import os
import numpy as np
from tests.runtime import models
from csbrnn.runtime import engine
engine.SERIAL_BELOW = 0
stream = models.engine_of(models.model(np.random.default_rng(0)), threads=2).stream()
core = {min(os.sched_getaffinity(0))}
tasks = [int(task) for task in os.listdir("/proc/self/task")]
for task in tasks:
    os.sched_setaffinity(task, core)
for _ in range(300):
    stream.step(np.zeros(5, np.float32))
assert all(os.sched_getaffinity(task) == core for task in tasks)
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs two cores, and a way to choose one",
)
def test_threads_stay_where_they_are_pinned():
    """As by `taskset -ap`, although threads leave their caller's core by themselves."""
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", PINNED], check=True, timeout=60, cwd=root)


@pytest.mark.parametrize("threads", [2, 3])
def test_more_threads_than_parts_give_the_same(threads):
    """Of the C library, whose pools and images are made apart."""
    rng = np.random.default_rng(0)
    program = lower(models.model(rng, hidden_size=64))
    image = build_image(program, 1)
    expected, _ = Engine(program)(xs := models.sequence(rng, program, 300))
    lib, model = library(), Model()
    data = image.data
    assert lib.csbrnn_open(ctypes.byref(model), data.ctypes.data, data.nbytes, b"baseline") == 0
    memory = aligned(int(lib.csbrnn_memory_nbytes(ctypes.byref(model))))
    pool = lib.csbrnn_pool_create(threads)
    try:
        for _ in range(5):
            memory[...] = 0
            ys = np.empty_like(expected)
            places = np.array([[a.ctypes.data] for a in (memory, xs, ys)], np.uintp)
            at = [places.ctypes.data + k * places.strides[0] for k in range(3)]
            needed = int(lib.csbrnn_many_nbytes(ctypes.byref(model), len(xs), 1))
            workspace = aligned(max(needed, 64))
            error = lib.csbrnn_pool_run_many(
                pool, ctypes.byref(model), *at, len(xs), 1, workspace.ctypes.data
            )
            assert error == 0
            np.testing.assert_allclose(ys, expected, atol=1e-5)
    finally:
        lib.csbrnn_pool_destroy(pool)
