import gc
import threading
import time
from contextlib import contextmanager, nullcontext

import numpy as np
import pytest

from csbrnn.bench import timing
from csbrnn.bench.timing import CacheFlush, Statistics, Timed, interleave, timer_overhead_us


def test_statistics():
    statistics = Statistics.of([1000 * k for k in range(101)])

    assert statistics == Statistics(median_us=50, p99_us=99, iqr_us=50, min_us=0, n=101)


def test_statistics_of_calls_with_many_steps():
    assert Statistics.of([200_000, 400_000], calls=100).median_us == pytest.approx(3)


def noted(turns, name):
    """A context that notes whose turn it is."""
    turns.append(name)
    return nullcontext()


def test_entries_take_turns_in_changing_order():
    turns = []
    entries = [Timed(lambda: None, active=lambda k=k: noted(turns, k)) for k in range(4)]
    rounds = interleave(entries, 0.3)

    assert rounds > 2
    # The first rounds are everybody's.
    by_round = np.reshape(turns[:12], (3, 4))
    assert (np.sort(by_round) == np.arange(4)).all()
    assert len(np.unique(by_round, axis=0)) > 1
    assert all(len(entry.durations_ns) > 10 * turns.count(k) for k, entry in enumerate(entries))


def test_everyone_gets_the_same_time():
    turns = []
    fast = Timed(lambda: None, lambda: noted(turns, "fast"))
    slow = Timed(lambda: time.sleep(0.03), lambda: noted(turns, "slow"))
    interleave([fast, slow], 1.5)

    # A turn of the slow one takes 3 calls, 90 ms: fifteen of the fast one's turns.
    assert turns.count("fast") > 4 * turns.count("slow")
    assert turns.count("slow") >= timing.MIN_TURNS


def test_order_is_the_seeds():
    def turns(seed):
        order = []
        entries = [Timed(lambda: None, active=lambda k=k: noted(order, k)) for k in range(4)]
        interleave(entries, 0.1, seed)
        return order[:8]

    assert turns(1) == turns(1)
    assert turns(1) != turns(2)


def test_everyone_has_a_turn_even_without_time():
    entries = [Timed(lambda: None), Timed(lambda: None, cold=True)]

    assert interleave(entries, 1e-9) == timing.MIN_TURNS
    assert entries[0].durations_ns
    assert len(entries[1].durations_ns) == timing.COLD_CALLS * timing.MIN_TURNS


def test_slow_calls_are_recorded_more_than_once():
    entry = Timed(lambda: time.sleep(0.01))
    interleave([entry], 1e-9)

    assert len(entry.durations_ns) == timing.MIN_CALLS * timing.MIN_TURNS


def test_long_calls_are_not_repeated_within_a_turn(monkeypatch):
    monkeypatch.setattr(timing, "LONG_CALL_MS", 5)
    calls = []
    entry = Timed(lambda: calls.append(time.sleep(0.01)))
    interleave([entry], 1e-9)

    assert len(entry.durations_ns) == len(calls) == timing.MIN_TURNS


def test_preemptions_are_counted():
    assert 0 <= timing.preemptions() <= timing.preemptions()


def test_turns_wait_for_the_last_ones_threads(monkeypatch):
    stop, begun = threading.Event(), []

    def burn():
        while not stop.is_set():
            pass

    def nap(seconds):
        begun.append(seconds)
        if len(begun) == 5:
            stop.set()
            thread.join()
        sleep(0.02)  # long enough for the thread to run in, on a busy machine, too

    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", nap)
    thread = threading.Thread(target=burn)
    thread.start()
    timing._wait_until_quiet()

    assert len(begun) >= 5


def test_waiting_for_quiet_ends(monkeypatch):
    monkeypatch.setattr(timing, "QUIET_SHARE", -1)
    began = time.perf_counter()
    timing._wait_until_quiet()

    assert 0.06 <= time.perf_counter() - began < 5


def test_no_entries_no_rounds():
    assert interleave([], 1.0) == 0


def test_a_context_surrounds_each_turn():
    events = []

    @contextmanager
    def active():
        events.append("enter")
        yield
        events.append("leave")

    entry = Timed(lambda: events.append("call"), active)
    interleave([entry], 1e-9)

    assert events[:2] == ["enter", "call"]
    assert events[-1] == "leave"
    # The first part of the turn is warm-up.
    assert len(entry.durations_ns) < events.count("call")


def test_garbage_collection_is_put_off_and_restored():
    seen = []
    interleave([Timed(lambda: seen.append(gc.isenabled()))], 1e-9)

    assert not any(seen)
    assert gc.isenabled()


def test_garbage_collection_is_restored_after_an_error():
    def fail():
        raise RuntimeError

    with pytest.raises(RuntimeError):
        interleave([Timed(fail)], 1)
    assert gc.isenabled()


def test_progress_ends_at_one():
    shares = []
    interleave([Timed(lambda: None)], 0.05, progress=shares.append)

    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_flush_makes_reading_slower():
    # Fits the L2 cache of every machine of the last decade; reading it again is cheap.
    array = np.ones(16 << 10)
    hot, cold = Timed(array.sum), Timed(array.sum, cold=True)
    interleave([hot, cold], 0.5)

    assert Statistics.of(cold.durations_ns).median_us > Statistics.of(hot.durations_ns).median_us


def test_flush_threads_end():
    with CacheFlush(1 << 20) as flush:
        flush()
        readers = flush._readers
    with pytest.raises(RuntimeError):
        readers[0].submit(int)


def test_timer_overhead_is_small_and_positive():
    assert 0 < timer_overhead_us() < 10
