"""The cycle model: when everything happens, exactly, without computing anything.

Streams run through the words they are given and nothing else, so a segment's end in every stream
follows from when it was posted and when the one before ended. The sequencer's times follow from
those. The rules are those of docs/spec/accelerator.md ("Cycles"), and the RTL's, to the cycle,
where input is always offered and output always taken.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from csbrnn.accelerator.arch import TIMING
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.isa import End, In, Jump, Next, Run, Vop, Wait
from csbrnn.numerics import Ints

__all__ = ["Cycles", "Span", "Trace", "count_cycles", "trace"]

_STEADY_STEPS = 6
"""Steps that are simulated to find the period: programs settle within two. Ours."""


@dataclass(frozen=True)
class Span:
    """An instruction's execution.

    Attributes:
        pc: Its address.
        name: "RUN", "WAIT", "VOP", "IN", ..
        step: Number of the step in which it executes, from 0.
        start: First cycle of its execution.
        stop: Cycle after the last.
        stall: Cycles of it in which it waited for streams.
    """

    pc: int
    name: str
    step: int
    start: int
    stop: int
    stall: int = 0


@dataclass(frozen=True, eq=False)
class Trace:
    """Everything that happened.

    Attributes:
        end: Cycle in which END executed; what the engine's cycle counter shows.
        spans: Of the sequencer, in order.
        posted: Cycle in which each segment was posted.
        starts: First word of each segment in each stream. Shape: (segments run, streams)
        ends: Last word of it. Shape: (segments run, streams)
        jumps: Cycle of each NEXT that went on to another step, and of the last.
    """

    end: int
    spans: tuple[Span, ...]
    posted: Ints
    starts: Ints
    ends: Ints
    jumps: Ints


@dataclass(frozen=True, eq=False)
class Cycles:
    """How long a step takes, and why.

    Attributes:
        cycles: A step in the steady state: the distance of two steps.
        latency_cycles: One step alone, from start to END.
        kept: Weights that a step multiplies with.
        pes: Multiplier-accumulators.
        words: Words of the fullest and of the mean stream, a step.
        phases: For each segment of a step in the steady state: its name, its words in the mean
            stream, how long streams waited before it for want of work, on average, and why.
    """

    cycles: float
    latency_cycles: int
    kept: int
    pes: int
    words: tuple[int, float]
    phases: tuple[dict[str, Any], ...] = field(default=())

    @property
    def utilization(self) -> float:
        """Kept weights / (PEs x cycles), over the whole step."""
        return self.kept / (self.pes * self.cycles)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        return {
            "cycles": self.cycles,
            "kept_weights": self.kept,
            "pes": self.pes,
            "utilization": self.utilization,
            "latency_cycles": self.latency_cycles,
            "words_of_fullest_stream": self.words[0],
            "words_of_mean_stream": self.words[1],
            "phases": list(self.phases),
        }


def trace(image: Image, steps: int) -> Trace:
    """Return when everything happens in a run of some steps."""
    return _Machine(image).run(steps)


def count_cycles(image: Image) -> Cycles:
    """Return how long a step takes, in the steady state and alone."""
    long = trace(image, 2 * _STEADY_STEPS)
    period = (long.jumps[-1] - long.jumps[_STEADY_STEPS - 1]) / _STEADY_STEPS
    words = image.segment_words.reshape(len(image.segment_names), -1)
    totals = words.sum(axis=0)
    return Cycles(
        cycles=float(period),
        latency_cycles=trace(image, 1).end,
        kept=image.kept,
        pes=image.arch.pes,
        words=(int(totals.max()), float(totals.mean())),
        phases=_phases(image, long, words),
    )


def _phases(image: Image, long: Trace, words: Ints) -> tuple[dict[str, Any], ...]:
    count = len(words)
    first = _STEADY_STEPS * count  # a step in the middle of the run
    arch = image.arch
    phases = []
    for number in range(count):
        k = first + number
        gap = long.starts[k] - long.ends[k - 1] - 1
        waited = int(gap.max())
        phases.append(
            {
                "segment": image.segment_names[number],
                "words_mean": float(words[number].mean()),
                "words_max": int(words[number].max()),
                "waiting_mean": float(gap.mean()),
                "waiting_max": waited,
                "why": _why(long, k) if waited else "",
                "busy_per_group": words[number]
                .reshape(arch.groups, arch.streams)
                .mean(axis=1)
                .tolist(),
                "waiting_per_group": gap.reshape(arch.groups, arch.streams).mean(axis=1).tolist(),
            }
        )
    return tuple(phases)


def _why(long: Trace, segment: int) -> str:
    """What the sequencer did while streams waited for a segment."""
    begin, end = int(long.ends[segment - 1].min()), int(long.posted[segment])
    doing: dict[str, int] = {}
    for span in long.spans:
        overlap = min(span.stop, end + 1) - max(span.start, begin)
        if overlap > 0:
            name = "other streams' last words" if span.stall else span.name
            doing[name] = doing.get(name, 0) + overlap
    doing.pop("RUN", None)
    if not doing:
        return "the time to post it"
    return "the sequencer was at " + max(doing, key=lambda name: doing[name])


class _Machine:
    def __init__(self, image: Image) -> None:
        self._image, self._arch = image, image.arch
        self._words = image.segment_words.reshape(-1, self._arch.groups * self._arch.streams)
        self._starts: list[Ints] = []
        self._ends: list[Ints] = []
        self._finished: list[int] = []  # cycle from which each segment is finished everywhere
        self._posted: list[int] = []

    def run(self, steps: int) -> Trace:
        arch = self._arch
        spans: list[Span] = []
        jumps: list[int] = []
        pc, step, at, quiet = 0, 0, TIMING.start, 0
        settled = 0
        while True:
            code, here = self._image.program[pc], pc
            pc += 1
            if not isinstance(code, Vop):
                at = max(at, quiet)
            begin = at
            match code:
                case Run():
                    at = max(at, settled, self._ready(arch.queue - 1))
                    settled = at + TIMING.settle
                    self._post(at)
                    stop = at + 1
                case Wait(count=count):
                    at = max(at, settled, self._ready(count))
                    stop = at + 1
                case End():
                    at = max(at, settled, self._ready(0))
                    stop = at + 1
                case In(count=count):
                    stop = at + -(-count // arch.x_write) + TIMING.input
                case Vop(n=n):
                    cadence = arch.cadence if code.emits else 1
                    stop = at + max(n * cadence, (n - 1) * (cadence - 1) + TIMING.vector_min)
                    quiet = at + n * cadence + TIMING.vector + arch.levels
                case Next(target=target):
                    jumps.append(at)
                    step += 1
                    pc = target if step < steps else pc
                    stop = at + 1
                case Jump(target=target):
                    pc = target
                    stop = at + 1
            stall = stop - 1 - begin if isinstance(code, Run | Wait | End) else 0
            spans.append(Span(here, type(code).__name__.upper(), step, begin, stop, stall))
            if isinstance(code, End):
                break
            at = stop + TIMING.fetch
        return Trace(
            end=at,
            spans=tuple(spans),
            posted=np.array(self._posted, np.int64),
            starts=np.array(self._starts, np.int64),
            ends=np.array(self._ends, np.int64),
            jumps=np.array(jumps, np.int64),
        )

    def _ready(self, count: int) -> int:
        """First cycle in which no stream has more than ``count`` unfinished segments."""
        return self._finished[-1 - count] if len(self._finished) > count else 0

    def _post(self, at: int) -> None:
        words = self._words[len(self._posted) % len(self._words)]
        before = self._ends[-1] if self._ends else np.full(words.shape, -1)
        starts = np.maximum(before + 1, at + TIMING.post)
        self._posted.append(at)
        self._starts.append(starts)
        self._ends.append(starts + words - 1)
        self._finished.append(int(self._ends[-1].max()) + TIMING.stream)
