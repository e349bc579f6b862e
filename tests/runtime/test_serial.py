"""Small models stay on one thread, whatever is asked for."""

import time

import numpy as np
import pytest

from csbrnn.compiler import lower
from csbrnn.runtime import Engine, engine, layout

from . import models

THRESHOLD = engine.SERIAL_BELOW  # before conftest.py changes it


@pytest.fixture
def _real_threshold(monkeypatch):
    monkeypatch.setattr(engine, "SERIAL_BELOW", THRESHOLD)


def parts(compiled):
    return int(compiled.image[: layout.HEADER.itemsize].view(layout.HEADER)["parts"][0])


@pytest.mark.usefixtures("_real_threshold")
def test_small_models_stay_serial_and_large_ones_do_not():
    rng = np.random.default_rng(0)
    for hidden, expected in ((16, 1), (128, 1), (192, 2)):
        program = lower(models.model(rng, input_size=hidden, hidden_size=hidden))
        two = Engine(program, 2)
        assert two.threads == 2
        assert parts(two) == expected
        xs = models.sequence(rng, program, 5)
        np.testing.assert_array_equal(two(xs)[0], Engine(program)(xs)[0])


@pytest.mark.usefixtures("_real_threshold")
def test_two_threads_do_not_slow_a_small_model():
    """Best of many: with worker threads a step takes 4 times as long, or 100 on a busy machine."""
    program = lower(models.model(np.random.default_rng(0), input_size=16, hidden_size=16))
    streams = [Engine(program, threads).stream() for threads in (1, 2)]
    best = [np.inf, np.inf]
    for _ in range(2000):
        for k, stream in enumerate(streams):
            start = time.perf_counter()
            for _ in range(5):
                stream.step()
            best[k] = min(best[k], time.perf_counter() - start)
    assert best[1] < 1.5 * best[0]
