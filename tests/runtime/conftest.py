"""Threads and kernels are tested on models for which they are not worth it."""

import os

import pytest

from csbrnn.runtime import engine, tilings

from . import native


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Builds C test programs, each once for all workers."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # that of a worker is in that of the run
    folder /= "native"
    folder.mkdir(exist_ok=True)
    return native.Builder(folder)


@pytest.fixture(autouse=True)
def _threads_for_all(monkeypatch):
    monkeypatch.setattr(engine, "SERIAL_BELOW", 0)


@pytest.fixture(autouse=True)
def _strips_for_all(monkeypatch):
    """int8 strips also where bytes are looked up one by one, and dense tiles would be faster."""
    monkeypatch.setattr(tilings, "DEFAULT_COSTS", tilings.INT8_COSTS["avx512_vnni"])
