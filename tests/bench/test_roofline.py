import pytest

from csbrnn.bench import roofline
from csbrnn.bench.environment import last_level_cache_nbytes
from csbrnn.bench.roofline import Roofline
from csbrnn.errors import MissingDependencyError


@pytest.fixture
def calls(monkeypatch):
    calls = []

    def read_bandwidth(nbytes, *, threads):
        calls.append((nbytes, threads))
        return 50e9 * threads

    monkeypatch.setattr(roofline, "read_bandwidth", read_bandwidth)
    return calls


def test_threads_share_the_bytes(calls):
    entry = Roofline().bandwidth(1 << 20, 2)

    assert calls == [(1 << 19, 2)]
    assert (entry.threads, entry.nbytes, entry.gb_per_s, entry.cold) == (2, 1 << 20, 100, False)


def test_similar_sizes_are_measured_once(calls):
    machine = Roofline()
    first = machine.bandwidth(1_000_000, 1)

    assert machine.bandwidth(1_050_000, 1) is first
    assert machine.bandwidth(2_000_000, 1) is not first
    assert machine.bandwidth(1_000_000, 2) is not first
    assert len(machine.measured) == len(calls) == 3


def test_cold_reads_come_from_memory(calls):
    machine = Roofline()
    entry = machine.bandwidth(1000, 1, cold=True)

    assert entry.nbytes == 4 * last_level_cache_nbytes()
    assert machine.bandwidth(5000, 1, cold=True) is entry
    assert machine.bandwidth(entry.nbytes, 1) is not entry


def test_without_the_library(monkeypatch):
    def missing(nbytes, *, threads):
        raise MissingDependencyError

    monkeypatch.setattr(roofline, "read_bandwidth", missing)
    assert Roofline().bandwidth(1000, 1) is None


def test_this_machine_reads():
    entry = Roofline().bandwidth(1 << 16, 1)

    # From a slow embedded core to the L1 cache of a wide one.
    assert entry is None or 0.1 < entry.gb_per_s < 5000
