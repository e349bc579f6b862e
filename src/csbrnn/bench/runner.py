"""`run_bench`: checks every contender's results, then times them against one another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from csbrnn.bench import timing
from csbrnn.bench.cases import Case
from csbrnn.bench.checks import Oracle, check, run_steps
from csbrnn.bench.contender import (
    PEER_TOLERANCES,
    Array,
    Contender,
    Prepared,
    UnavailableError,
    WrongResultsError,
)
from csbrnn.bench.contender_csbrnn import ENGINE_TOLERANCES
from csbrnn.bench.contenders import choose_contenders
from csbrnn.bench.environment import describe_environment, usable_cpus
from csbrnn.bench.matvec import PRODUCT_TOLERANCES
from csbrnn.bench.result import Bandwidth, BenchResult, Row, Skipped
from csbrnn.bench.roofline import Roofline
from csbrnn.bench.timing import Statistics, Timed
from csbrnn.errors import ArgumentError

__all__ = ["MODES", "Progress", "run_bench"]

Progress: TypeAlias = Callable[[str, float], object]
"""Called with what is being done and the share of the measuring that is done, 0..1."""

MODES: Final = ("step", "sequence", "cold", "matvec")
"""What can be timed: a step a call, many steps a call, a step a call with flushed caches, and the
matrix-vector products of a step alone."""

CHECK_STEPS: Final = 12
"""Steps compared before timing: enough for a lost or swapped state to show."""

SEQUENCE_STEPS: Final = 100
"""Steps in one call of the mode "sequence". Ours."""


def run_bench(
    cases: Iterable[Case],
    threads: Sequence[int] = (1, 2),
    contenders: Iterable[str | Contender] | None = None,
    seconds: float = 20.0,
    seed: int = 0,
    progress: Progress | None = None,
    *,
    modes: Sequence[str] = ("step", "cold"),
) -> BenchResult:
    """Measures cases under every contender.

    Each contender first runs a few steps, compared with the definition of what it must compute
    (`Contender.model`): `csbrnn.compiler.run_program` where products are integers, else
    `csbrnn.model.run_reference`. One that errs by more than its tolerance is listed as skipped, not
    timed. The others are timed in turns
    (see `csbrnn.bench.timing.interleave`). Thread counts are measured one after another, each with
    its own sessions, in ascending order: most libraries keep the largest pool they ever had.

    Args:
        cases: What to run.
        threads: Thread counts.
        contenders: Names from `CONTENDERS`, or contenders; everyone if left out.
        seconds: Time for measuring, all in all, as long as that gives everyone a few turns;
            preparing and checking come on top.
        seed: Of inputs and of the order of turns.
        progress: Told what is being done.
        modes: What to time, of `MODES`.

    Raises:
        ArgumentError: An argument is out of range.
    """
    cases, contenders = tuple(cases), choose_contenders(contenders)
    threads, modes = sorted(set(threads)), tuple(modes)
    _check_arguments(cases, threads, seconds, modes)
    run = _Run(contenders, modes, seed, progress or (lambda text, share: None))
    blocks = [(case, count) for case in cases for count in threads]
    start = time.perf_counter()
    for position, (case, count) in enumerate(blocks):
        run.block(case, count, seconds / len(blocks), position / len(blocks), 1 / len(blocks))
    settings = {
        "cases": [case.name for case in cases],
        "threads": threads,
        "modes": list(modes),
        "seconds": seconds,
        "seed": seed,
        "wall_s": round(time.perf_counter() - start, 3),
        "rounds": run.rounds,
        "preemptions": run.preemptions,
        "slice_ms": timing.SLICE_MS,
        "warm_share": timing.WARM_SHARE,
        "quiet_ms": timing.QUIET_MS,
        "cold_calls": timing.COLD_CALLS,
        "min_turns": timing.MIN_TURNS,
        "check_steps": CHECK_STEPS,
        "sequence_steps": SEQUENCE_STEPS,
        "tolerances": {
            "peers": dict(PEER_TOLERANCES),
            "csbrnn": dict(ENGINE_TOLERANCES),
            "products alone": dict(PRODUCT_TOLERANCES),
        },
        "timer_overhead_us": timing.timer_overhead_us(),
    }
    return BenchResult(
        describe_environment(),
        settings,
        tuple(run.roofline.measured),
        tuple(run.rows),
        tuple(run.skipped),
    )


@dataclass
class _Entry:
    """A contender in one mode: what its row says besides the statistics."""

    contender: Contender
    prepared: Prepared
    mode: str
    error: float
    timed: Timed


@dataclass
class _Run:
    """One call of `run_bench`, and what it has found so far."""

    contenders: tuple[Contender, ...]
    modes: tuple[str, ...]
    seed: int
    progress: Progress
    roofline: Roofline = field(default_factory=Roofline)
    rows: list[Row] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)
    preemptions: list[int] = field(default_factory=list)
    oracle: Oracle = field(default_factory=Oracle)

    def block(self, case: Case, threads: int, seconds: float, done: float, share: float) -> None:
        """Measures one case with one thread count."""
        what = f"{case.name}, {threads} thread{'s' if threads > 1 else ''}"
        xs = case.inputs(CHECK_STEPS, self.seed)
        entries: list[_Entry] = []
        with ExitStack() as stack:
            for contender in self.contenders:
                self.progress(f"{what}: preparing {contender.name} {contender.variant}", done)
                try:
                    if threads > usable_cpus():
                        raise UnavailableError(f"this process may use {usable_cpus()} CPUs only")
                    entries += self._open(stack, contender, case, threads, xs)
                except WrongResultsError as error:
                    self._skip(contender, case, threads, str(error), failed=True)
                except UnavailableError as error:
                    self._skip(contender, case, threads, str(error))
                except Exception as error:  # a contender may fail in any way: it is listed
                    reason = f"{type(error).__name__}: {error}"
                    self._skip(contender, case, threads, reason, failed=True)
            preemptions = timing.preemptions()
            self.rounds.append(
                timing.interleave(
                    [entry.timed for entry in entries],
                    seconds,
                    self.seed,
                    lambda part: self.progress(f"{what}: measuring", done + share * part),
                )
            )
            self.preemptions.append(timing.preemptions() - preemptions)
            for entry in entries:
                self.rows.append(self._row(entry, case, threads))

    def _open(
        self,
        stack: ExitStack,
        contender: Contender,
        case: Case,
        threads: int,
        xs: Array,
    ) -> list[_Entry]:
        """Makes a contender ready and checks it in each mode.

        Raises:
            UnavailableError: It can't run the case, or its results are wrong.
        """
        with ExitStack() as own:  # closed at once unless the contender stays in the race
            prepared = own.enter_context(contender.open(case, threads))
            expected = self.oracle(contender.model(case), xs)
            error = check(contender, run_steps(prepared, xs), expected, "step by step")
            entries = [
                _Entry(contender, prepared, mode, error, _timed_step(prepared, xs[-1], mode))
                for mode in ("step", "cold")
                if mode in self.modes
            ]
            if "sequence" in self.modes:
                entries += self._open_sequence(contender, prepared, case, threads, xs, expected)
            products = prepared.matvec if "matvec" in self.modes else None
            if products is not None and (products_call := products()) is not None:
                timed = Timed(products_call, active=prepared.active)
                entries.append(_Entry(contender, prepared, "matvec", error, timed))
            stack.push(own.pop_all())
        return entries

    def _open_sequence(
        self,
        contender: Contender,
        prepared: Prepared,
        case: Case,
        threads: int,
        xs: Array,
        expected: Array,
    ) -> list[_Entry]:
        """Checks whole sequences; who gets them wrong may still compete step by step."""
        if prepared.sequence is None:
            return []
        with prepared.active():
            outputs = prepared.sequence(xs)()
        try:
            error = check(contender, outputs, expected, "as a sequence")
        except UnavailableError as reason:
            self._skip(contender, case, threads, str(reason))
            return []
        call = prepared.sequence(case.inputs(SEQUENCE_STEPS, self.seed))
        timed = Timed(call, active=prepared.active)
        return [_Entry(contender, prepared, "sequence", error, timed)]

    def _skip(
        self, contender: Contender, case: Case, threads: int, reason: str, *, failed: bool = False
    ) -> None:
        self.skipped.append(
            Skipped(
                case.name,
                contender.name,
                contender.variant,
                contender.precision,
                threads,
                reason,
                failed,
            )
        )

    def _row(self, entry: _Entry, case: Case, threads: int) -> Row:
        cold, sequence = entry.mode == "cold", entry.mode == "sequence"
        statistics = Statistics.of(entry.timed.durations_ns, SEQUENCE_STEPS if sequence else 1)
        nbytes = entry.prepared.nbytes
        # Within a sequence the products with the inputs can share one reading of the weights.
        bandwidth: Bandwidth | None = (
            None if sequence else self.roofline.bandwidth(nbytes, threads, cold=cold)
        )
        floor = None if bandwidth is None else nbytes / (bandwidth.gb_per_s * 1e3)
        return Row(
            case=case.name,
            contender=entry.contender.name,
            variant=entry.contender.variant,
            precision=entry.contender.precision,
            layout=entry.contender.layout(case),
            threads=threads,
            mode="step" if cold else entry.mode,
            cold=cold,
            median_us=statistics.median_us,
            p99_us=statistics.p99_us,
            iqr_us=statistics.iqr_us,
            min_us=statistics.min_us,
            n=statistics.n,
            max_abs_error=entry.error,
            nbytes=nbytes,
            floor_us=floor,
            fraction=None if floor is None else floor / statistics.median_us,
        )


def _check_arguments(
    cases: Sequence[Case], threads: Sequence[int], seconds: float, modes: Sequence[str]
) -> None:
    names = [case.name for case in cases]
    if not names or len(set(names)) != len(names):
        raise ArgumentError(f"cases must be one or more of different names, not {names}")
    if not threads or any(not isinstance(n, int) or n < 1 for n in threads):
        raise ArgumentError(f"threads must be one or more positive integers, not {threads}")
    if not seconds > 0:
        raise ArgumentError(f"seconds must be positive, not {seconds!r}")
    if not modes or not set(modes) <= set(MODES):
        raise ArgumentError(f"modes must be some of {', '.join(MODES)}, not {modes}")


def _timed_step(prepared: Prepared, x: Array, mode: str) -> Timed:
    prepared.set_input(x)
    return Timed(prepared.step, active=prepared.active, cold=mode == "cold")
