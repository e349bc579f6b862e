"""A step called through the extension module, and by ctypes where there is none."""

import gc
import subprocess
import sys
import sysconfig
import weakref
from pathlib import Path

import numpy as np
import pytest

from csbrnn import runtime
from csbrnn.runtime.library import Call, bound_step, library

from . import models, native


@pytest.fixture
def extension():
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        pytest.skip("Python.h is not installed")
    from csbrnn.runtime import _csbrnn

    return _csbrnn


def _steps(threads, xs):
    network = models.model(np.random.default_rng(0), hidden_size=40)
    stream = models.engine_of(network, threads=threads).stream()
    return type(stream._lane.step).__name__, np.stack([stream.step(x).copy() for x in xs])


@pytest.mark.parametrize("threads", [1, 2])
def test_both_ways_give_the_same(extension, threads, monkeypatch):
    network = models.model(np.random.default_rng(0), hidden_size=40)
    width = models.engine_of(network).program.streams["input"].width
    xs = np.random.default_rng(1).standard_normal((5, width), np.float32)
    fast, ys = _steps(threads, xs)
    monkeypatch.setitem(sys.modules, "csbrnn.runtime._csbrnn", None)  # as if built without
    monkeypatch.delattr(runtime, "_csbrnn", raising=False)
    monkeypatch.setattr(runtime.library, "_bind_step", runtime.library._bind_step.__wrapped__)
    slow, same = _steps(threads, xs)
    assert (fast, slow) == ("builtin_function_or_method", "partial")
    assert np.array_equal(ys, same)
    assert np.unique(ys).size > 1


def test_a_step_keeps_what_it_points_to(extension):
    call = Call()
    step, alive = bound_step(call), weakref.ref(call)
    del call
    gc.collect()
    assert alive() is not None
    del step
    gc.collect()
    assert alive() is None


def test_bad_arguments_are_refused(extension):
    with pytest.raises(ValueError, match="address is 0"):
        extension.bind_step(0, None)
    with pytest.raises(TypeError):
        extension.bind_step("address", None)
    with pytest.raises(TypeError):
        extension.bind_step(1)
    with pytest.raises(OverflowError):
        extension.bind_step(1 << 80, None)


def test_the_library_is_whole_without_python(tmp_path):
    """Built without Python.h, it has every function that ctypes calls, and none of Python's."""
    native.require("cc")
    target = tmp_path / "_csbrnn.so"
    sources = [str(path) for path in native.SOURCES.glob("*.c")]
    flags = [*native.STRICT, "-O1", "-fPIC", "-shared", "-fvisibility=hidden", "-DCSBRNN_SHARED"]
    subprocess.run(["cc", *flags, *sources, "-o", str(target), "-pthread"], check=True)
    code = (
        "import ctypes, sys; lib = ctypes.CDLL(sys.argv[1])\n"
        "assert not hasattr(lib, 'PyInit__csbrnn') and hasattr(lib, 'csbrnn_call_step')"
    )
    subprocess.run([sys.executable, "-c", code, str(target)], check=True)
    assert hasattr(library(), "csbrnn_call_step")
