import itertools
import json
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from csbrnn.bench import CONTENDERS, BenchResult, run_bench, timing
from csbrnn.bench.environment import usable_cpus
from csbrnn.compiler import lower, run_program
from csbrnn.errors import ArgumentError
from csbrnn.model import quantize

from .fakes import Fake, Missing, tiny_case

ROW_KEYS = {
    "case", "contender", "variant", "precision", "layout", "threads", "mode", "cold", "median_us",
    "p99_us", "iqr_us", "min_us", "n", "max_abs_error", "nbytes", "floor_us", "fraction", "label",
}  # fmt: skip


def run(*contenders, **options) -> BenchResult:
    options = {"seconds": 0.05, "threads": (1,), "modes": ("step",)} | options
    return run_bench([tiny_case()], contenders=contenders, **options)


def test_a_right_contender_is_timed():
    (row,) = run(Fake()).rows

    assert (row.case, row.contender, row.variant, row.label) == (
        "tiny",
        "fake",
        "right",
        "measured",
    )
    assert 0 < row.min_us <= row.median_us <= row.p99_us
    assert row.n > 5
    assert row.max_abs_error == 0


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda y: y + 0.01, "gives wrong results step by step: off by 0.01, where fp32 may be"),
        (lambda y: y * np.nan, "off by nan"),
        (lambda y: y[:-1], r"outputs of shape \(12, 15\) step by step, where \(12, 16\) is right"),
        (np.zeros_like, "gives wrong results"),
    ],
)
def test_a_wrong_contender_is_refused_with_the_error(spoil, reason):
    log = []
    result = run(Fake("wrong", spoil=spoil, log=log), Fake())

    (skipped,) = result.skipped
    assert skipped.variant == "wrong"
    assert skipped.failed
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(skipped.reason)
    assert [row.variant for row in result.rows] == ["right"]
    # Not one step beyond the check.
    assert log.count(("step", "wrong")) == 12


def test_a_lost_state_is_wrong():
    class Forgetful(Fake):
        @contextmanager
        def open(self, case, threads):
            with super().open(case, threads) as right:

                def step():
                    right.reset()
                    right.step()

                yield replace(right, step=step)

    (skipped,) = run(Forgetful()).skipped
    assert "wrong results" in skipped.reason


def test_quantized_contenders_may_err_more():
    result = run(Fake("rough", "int8", spoil=lambda y: y + 0.01))

    assert result.rows[0].max_abs_error == pytest.approx(0.01)


def test_reasons_are_listed():
    result = run(Missing(), Fake("broken", fails=RuntimeError("no such device")))

    assert [(s.contender, s.threads, s.reason) for s in result.skipped] == [
        ("missing", 1, "missing is not installed"),
        ("fake", 1, "RuntimeError: no such device"),
    ]
    assert result.rows == ()


def test_more_threads_than_cpus_are_skipped_with_the_reason():
    threads = usable_cpus() + 1
    (skipped,) = run(Fake(), threads=(threads,)).skipped

    assert skipped.reason == f"this process may use {usable_cpus()} CPUs only"


@pytest.mark.skipif(usable_cpus() < 2, reason="needs two CPUs")
def test_thread_counts_are_blocks_of_their_own():
    log = []
    run(Fake("a", log=log), Fake("b", log=log), threads=(2, 1))

    opened = [event for event in log if event[0] != "step"]
    assert opened == [
        ("open", "a", 1),
        ("open", "b", 1),
        ("close", "b"),
        ("close", "a"),
        ("open", "a", 2),
        ("open", "b", 2),
        ("close", "b"),
        ("close", "a"),
    ]


class SteadyClock:
    """Time as on an idle machine: 20 us pass with each look at it. (On a busy one, a contender that
    was held up sits rounds out.)"""

    def __init__(self):
        self.ns = 0

    def perf_counter_ns(self):
        self.ns += 20_000
        return self.ns

    def perf_counter(self):
        return self.perf_counter_ns() / 1e9

    def process_time(self):
        return 0.0

    def sleep(self, seconds):
        self.ns += int(1e9 * seconds)


def test_contenders_are_interleaved(monkeypatch):
    monkeypatch.setattr(timing, "time", SteadyClock())
    log = []
    result = run(Fake("a", log=log), Fake("b", log=log), seconds=0.3)

    steps = [variant for kind, variant, *_ in log if kind == "step"][24:]
    changes = sum(x != y for x, y in itertools.pairwise(steps))
    rounds = result.settings["rounds"][0]
    assert rounds > 2
    assert rounds - 1 <= changes <= 2 * rounds


def test_all_modes():
    result = run(Fake(), modes=("step", "cold", "sequence"), seconds=0.3)

    assert [(row.mode, row.cold) for row in result.rows] == [
        ("step", False),
        ("step", True),
        ("sequence", False),
    ]
    # A floor is that of one step; a sequence reads weights less often.
    assert result.rows[2].floor_us is None


def test_a_wrong_sequence_is_refused():
    outputs = []

    def spoil(y):
        outputs.append(y)
        return y if y.ndim == 1 else y + 1

    result = run(Fake(spoil=spoil), modes=("step", "sequence"))
    (skipped,) = result.skipped
    assert "gives wrong results as a sequence" in skipped.reason
    assert [row.mode for row in result.rows] == ["step"]  # its steps are right


def test_products_alone_are_a_mode_of_those_who_have_them():
    class Products(Fake):
        @contextmanager
        def open(self, case, threads):
            with super().open(case, threads) as right:
                yield replace(right, matvec=lambda: right.step)

    class Neither(Fake):
        @contextmanager
        def open(self, case, threads):
            with super().open(case, threads) as right:
                yield replace(right, matvec=lambda: None)

    result = run(Products(), Neither(), Fake(), modes=("matvec",))
    assert [(row.mode, row.cold) for row in result.rows] == [("matvec", False)]
    assert not result.skipped


def test_contenders_may_bring_their_own_model_and_tolerance():
    class Other(Fake):
        def model(self, case):
            return quantize(case.model, "int8")

        tolerance = 1e-9

    xs = tiny_case().inputs(12)
    expected, _ = run_program(lower(quantize(tiny_case().model, "int8")), xs)

    (skipped,) = run(Other()).skipped
    assert "where fp32 may be off by 1e-09" in skipped.reason
    outputs = iter(expected)
    (row,) = run(Other(spoil=lambda y: next(outputs, y))).rows
    assert row.max_abs_error == 0


def test_result_is_json():
    result = run(Fake(), Missing(), modes=("step", "cold"), seed=3)
    data = json.loads(json.dumps(result.to_dict(), allow_nan=False))

    assert data.keys() == {"environment", "settings", "bandwidth", "rows", "skipped"}
    assert all(row.keys() == ROW_KEYS for row in data["rows"])
    assert data["settings"]["seed"] == 3
    assert data["settings"]["tolerances"]["peers"]["int8"] == 0.1
    assert data["skipped"][0]["reason"] == "missing is not installed"
    for entry in data["bandwidth"]:
        assert entry.keys() == {"threads", "nbytes", "gb_per_s", "cold"}


def test_floor_is_bytes_over_bandwidth():
    result = run(Fake())
    row = result.rows[0]
    if not result.bandwidth:
        pytest.skip("the C library has not been built")

    assert row.nbytes == 1024
    assert row.floor_us == pytest.approx(1024 / (result.bandwidth[0].gb_per_s * 1e3))
    assert row.fraction == pytest.approx(row.floor_us / row.median_us)


def test_best_is_the_fastest_that_fits():
    def slow(y):
        for _ in range(300):
            np.tanh(y)
        return y

    result = run(Fake("slow", spoil=slow), Fake("fast"), seconds=0.2)

    assert result.best("fake").variant == "fast"
    assert result.best("fake", None, None).variant == "fast"
    assert result.best("fake", "int8") is None
    assert result.best("fake", case="other") is None
    assert result.best("nobody") is None


def test_progress_tells_what_and_how_far():
    told = []
    run(Fake(), progress=lambda text, share: told.append((text, share)))

    assert told[0] == ("tiny, 1 thread: preparing fake right", 0)
    assert told[-1] == ("tiny, 1 thread: measuring", 1)


def test_arguments_are_checked():
    for options, message in (
        ({"threads": ()}, "threads must be one or more positive integers"),
        ({"threads": (0,)}, "threads must be one or more positive integers"),
        ({"seconds": 0}, "seconds must be positive"),
        ({"modes": ("warm",)}, "modes must be some of step, sequence, cold, matvec"),
    ):
        with pytest.raises(ArgumentError, match=message):
            run(Fake(), **options)
    with pytest.raises(ArgumentError, match="cases must be one or more of different names"):
        run_bench([])
    with pytest.raises(ArgumentError, match="cases must be one or more of different names"):
        run_bench([tiny_case(), tiny_case()])
    with pytest.raises(ArgumentError, match=f"must be one of {', '.join(CONTENDERS)}, not 'tvm'"):
        run_bench([tiny_case()], contenders=["tvm"])
