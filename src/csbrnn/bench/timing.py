"""Timing calls that run for microseconds, fairly, on a machine that does other things too."""

from __future__ import annotations

import gc
import os
import random
import resource
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from csbrnn.bench.environment import cpu_ids, last_level_cache_nbytes

__all__ = ["CacheFlush", "Statistics", "Timed", "interleave", "preemptions", "timer_overhead_us"]

SLICE_MS: Final = 6.0
"""Length of a contender's turn. Ours: hundreds of steps of a fast one, and short enough for some
fifty turns a second of budget, so that a disturbance hits all contenders alike."""

WARM_SHARE: Final = 0.3
"""First part of a turn that is not recorded: caches and clocks adapt to the new contender."""

QUIET_MS: Final = 1.0
"""Length of the naps between turns, until one passes in which this process hardly runs."""

QUIET_SHARE: Final = 0.1
"""Most processor time within a nap that counts as quiet: waking up takes a hundredth."""

MAX_NAPS: Final = 60
"""Naps after which a turn begins anyway. Idle threads of OpenMP (PyTorch) spin for 10 ms or so,
those of ONNX Runtime for less: measured, csbrnn's step on 2 of 2 cores took four times as long
when it began its turn while they still spun."""

COLD_CALLS: Final = 3
"""Calls a turn with flushed caches: a flush takes milliseconds."""

MIN_TURNS: Final = 3
"""Turns that everyone has, be it over time: one disturbance must not decide."""

MIN_CALLS: Final = 2
"""Calls recorded a turn; one of those that take longer than `LONG_CALL_MS`."""

LONG_CALL_MS: Final = 10 * SLICE_MS
"""A call so long that what it loses to cold caches, a millisecond at most, does not matter: it
needs no warming up, and repeating it would cost the others their time."""


@dataclass(frozen=True)
class Statistics:
    """What is reported of a sample of durations.

    Units:
        microseconds

    Attributes:
        median_us: Median.
        p99_us: 99th percentile, interpolated.
        iqr_us: Spread: distance of the quartiles.
        min_us: Smallest: the machine at its least disturbed.
        n: Durations recorded.
    """

    median_us: float
    p99_us: float
    iqr_us: float
    min_us: float
    n: int

    @classmethod
    def of(cls, durations_ns: Sequence[int], calls: int = 1) -> Statistics:
        """Summarizes durations, each of which covers ``calls`` time steps."""
        us = np.asarray(durations_ns, np.float64) / (1e3 * calls)
        low, median, high, p99 = np.percentile(us, (25, 50, 75, 99))
        return cls(float(median), float(p99), float(high - low), float(us.min()), len(us))


@dataclass
class Timed:
    """A call to time, and the durations recorded so far.

    Attributes:
        call: What is timed.
        active: Context of each turn.
        cold: Whether caches are flushed before each call.
        durations_ns: One entry a call.
    """

    call: Callable[[], object]
    active: Callable[[], AbstractContextManager[object]] = nullcontext
    cold: bool = False
    durations_ns: list[int] = field(default_factory=list)


def interleave(
    entries: Sequence[Timed],
    seconds: float,
    seed: int = 0,
    progress: Callable[[float], object] = lambda share: None,
) -> int:
    """Times all entries in turns of a few milliseconds, in a new random order each round.

    Whatever else the machine does then disturbs all of them alike, unless it recurs with the
    rounds. All get the same time: those whose calls take longer than a turn sit rounds out. The
    collection of garbage is put off meanwhile. Stops after the round in which the time is up and
    everyone has had `MIN_TURNS`.

    Args:
        entries: What to time; durations are added to theirs.
        seconds: Time for all of it.
        seed: Of the order.
        progress: Called after each round with the share of the time that has passed.

    Returns:
        The number of rounds.
    """
    order, rng = list(range(len(entries))), random.Random(seed)
    flush = CacheFlush() if any(entry.cold for entry in entries) else None
    clock = time.perf_counter
    start, rounds, used = clock(), 0, [0.0] * len(entries)
    with _no_garbage_collection(), flush or nullcontext():
        while order:
            rng.shuffle(order)
            fair = sum(used) / len(used) + SLICE_MS / 1e3
            for k in order:
                if rounds >= MIN_TURNS and used[k] > fair:
                    continue
                _wait_until_quiet()
                began = clock()
                _turn(entries[k], flush)
                used[k] += clock() - began
            rounds += 1
            share = (clock() - start) / max(seconds, 1e-9)
            progress(min(share, 1.0))
            if share >= 1 and rounds >= MIN_TURNS:
                break
    return rounds


def _wait_until_quiet() -> None:
    """Naps until the threads of the last contender have gone to sleep."""
    for _ in range(MAX_NAPS):
        before = time.process_time()
        time.sleep(QUIET_MS / 1e3)
        if time.process_time() - before < QUIET_SHARE * QUIET_MS / 1e3:
            return


def _turn(entry: Timed, flush: CacheFlush | None) -> None:
    with entry.active():
        if entry.cold and flush is not None:
            _cold_turn(entry, flush)
        else:
            _hot_turn(entry)


def _hot_turn(entry: Timed) -> None:
    call, clock, durations = entry.call, time.perf_counter_ns, entry.durations_ns
    now = clock()
    warm, end = now + int(WARM_SHARE * SLICE_MS * 1e6), now + int(SLICE_MS * 1e6)
    enough = len(durations) + MIN_CALLS
    while True:
        before = clock()
        call()
        now = clock()
        if now - before > LONG_CALL_MS * 1e6:
            durations.append(now - before)
            return
        if now >= warm:
            break
    while True:
        before = clock()
        call()
        now = clock()
        durations.append(now - before)
        if now >= end and len(durations) >= enough:
            break


def _cold_turn(entry: Timed, flush: CacheFlush) -> None:
    clock = time.perf_counter_ns
    for _ in range(COLD_CALLS):
        flush()
        before = clock()
        entry.call()
        entry.durations_ns.append(clock() - before)


class CacheFlush:
    """Evicts every core's caches by reading a buffer twice as large as the last-level cache.

    One pinned thread a core reads it all: a single reader would leave the other cores' own caches
    as they are. Threads of contenders fall asleep meanwhile, as between the frames of a stream,
    so waking them is part of a cold step.

    Args:
        nbytes: Size of the buffer.
    """

    def __init__(self, nbytes: int | None = None) -> None:
        self._buffer = np.ones((nbytes or 2 * last_level_cache_nbytes()) // 8)
        self._cpus = cpu_ids()

    def __enter__(self) -> CacheFlush:
        self._readers = [
            ThreadPoolExecutor(1, initializer=_pin, initargs=(cpu,)) for cpu in self._cpus
        ]
        return self

    def __exit__(self, *exc: object) -> None:
        for reader in self._readers:
            reader.shutdown()

    def __call__(self) -> None:
        """Reads the buffer on every core."""
        for read in [reader.submit(self._buffer.sum) for reader in self._readers]:
            read.result()


def timer_overhead_us(calls: int = 2000) -> float:
    """Median duration recorded for a call that does nothing: contained in every figure."""
    entry = Timed(lambda: None)
    clock = time.perf_counter_ns
    for _ in range(calls):
        before = clock()
        entry.call()
        entry.durations_ns.append(clock() - before)
    return Statistics.of(entry.durations_ns).median_us


def preemptions() -> int:
    """Times that the system took a core from this process so far: how disturbed the machine is."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _pin(cpu: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cpu})  # 0: this thread alone


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
