"""Threads and kernels are tested on models for which they are not worth it."""

import pytest

from csbrnn.runtime import engine, tilings


@pytest.fixture(autouse=True)
def _threads_for_all(monkeypatch):
    monkeypatch.setattr(engine, "SERIAL_BELOW", 0)


@pytest.fixture(autouse=True)
def _strips_for_all(monkeypatch):
    """int8 strips also where bytes are looked up one by one, and dense tiles would be faster."""
    monkeypatch.setattr(tilings, "DEFAULT_COSTS", tilings.INT8_COSTS["avx512_vnni"])
