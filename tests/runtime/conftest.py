"""Threads are tested on models that are too small to be worth them."""

import pytest

from csbrnn.runtime import engine


@pytest.fixture(autouse=True)
def _threads_for_all(monkeypatch):
    monkeypatch.setattr(engine, "SERIAL_BELOW", 0)
