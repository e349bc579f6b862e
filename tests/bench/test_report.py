import io

import pytest
from rich.console import Console

from csbrnn.bench import BenchResult, Row, Skipped
from csbrnn.bench.report import short_layout, speedups


def row(contender: str, median_us: float, threads: int = 1, **fields) -> Row:
    known = {
        "case": "sr",
        "variant": "default",
        "precision": "fp32",
        "layout": "dense",
        "mode": "step",
        "cold": False,
        "p99_us": 2 * median_us,
        "iqr_us": 1.0,
        "min_us": 1.0,
        "n": 10,
        "max_abs_error": 1e-6,
        "nbytes": 4000,
        "floor_us": 1.0,
        "fraction": 1 / median_us,
    }
    return Row(contender=contender, threads=threads, median_us=median_us, **known | fields)


RESULT = BenchResult(
    {"cpu": "a CPU", "cpus_usable": 2, "load_average": 0.1},
    {"seconds": 1, "seed": 0},
    (),
    (
        row("csbrnn", 50.0, variant="packed"),
        row("onnxruntime", 2000.0),
        row("onnxruntime", 200.0, precision="int8"),
        row("csbrnn", 30.0, threads=2),
        row("onnxruntime", 3000.0, threads=2),
        row("onnxruntime", 700.0, mode="sequence"),
        row("onnxruntime", 25.0, threads=2, cold=True),
    ),
    (Skipped("sr", "pytorch", "default", "fp32", 1, "pip install 'csbrnn[bench]'"),),
)


def printed(result: BenchResult) -> str:
    console = Console(file=io.StringIO(), width=80)
    console.print(result.table())
    return console.file.getvalue()


def test_sections_are_sorted_and_compared_with_csbrnn():
    lines = [" ".join(line.split()) for line in printed(RESULT).splitlines()]
    start = lines.index("one step, 1 thread")

    assert lines[start : start + 14] == [
        "one step, 1 thread",
        "csbrnn fp32 dense 50.0 100 2 1.0x",
        "onnxruntime int8 200 400 0 4.0x",
        "onnxruntime fp32 2,000 4,000 0 40.0x",
        "",
        "one step, 2 threads",
        "csbrnn fp32 dense 30.0 60.0 3 1.0x",
        "onnxruntime fp32 3,000 6,000 0 100x",
        "",
        "in a sequence, each step, 1 thread",
        "onnxruntime fp32 700 1,400 0",
        "",
        "one step, 2 threads, cold caches",
        "onnxruntime fp32 25.0 50.0 4",
    ]


def test_everything_fits_80_columns_unfolded():
    long = row(
        "csbrnn",
        123456.7,
        precision="bf16",
        variant="as packed",
        layout="block=64x64 row_group=16 all-or-nothing",
        mode="sequence",
    )
    lines = printed(BenchResult({}, {}, (), (long,), ())).splitlines()

    assert any("csbrnn bf16 64x64 whole" in line and "123k" in line for line in lines)
    assert not any("…" in line for line in lines)


@pytest.mark.parametrize(
    ("layout", "short"),
    [
        ("dense", "dense"),
        ("block=16x64 row_group=16", "16x64 g16"),
        ("block=8x4 row_group=8 all-or-nothing", "8x4 whole"),
    ],
)
def test_short_layouts(layout, short):
    assert short_layout(layout) == short


def test_one_table_a_case():
    text = printed(BenchResult({}, {}, (), (row("csbrnn", 1.0), row("csbrnn", 1.0, case="mt")), ()))

    assert "sr: time a step" in text
    assert "mt: time a step" in text


def test_speedups_let_peers_use_fewer_threads():
    one, two = speedups(RESULT)

    assert one == (
        "sr with at most 1 thread: csbrnn fp32 takes 50.0 us, 4.0x faster than onnxruntime int8, "
        "40.0x faster than onnxruntime fp32, each at its best."
    )
    assert "66.7x faster than onnxruntime fp32" in two  # 2000 us with one thread


def test_slower_is_said():
    result = BenchResult({}, {}, (), (row("csbrnn", 50.0), row("pytorch", 25.0)), ())

    assert "2.0x slower than pytorch fp32" in speedups(result)[0]


def test_alone():
    result = BenchResult({}, {}, (), (row("csbrnn", 50.0),), ())
    assert speedups(result) == ["sr with at most 1 thread: csbrnn fp32 takes 50.0 us."]

    assert speedups(BenchResult({}, {}, (), (row("pytorch", 25.0),), ())) == []


def test_reasons_survive_markup():
    text = " ".join(printed(RESULT).split())
    assert "Skipped pytorch fp32 (sr, 1 thread: default): pip install 'csbrnn[bench]'" in text
