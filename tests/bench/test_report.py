import io

from rich.console import Console

from csbrnn.bench import BenchResult, Row, Skipped
from csbrnn.bench.report import speedups


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
    console = Console(file=io.StringIO(), width=250)
    console.print(result.table())
    return console.file.getvalue()


def test_sections_are_sorted_and_compared_with_csbrnn():
    lines = [line for line in printed(RESULT).splitlines() if "│ sr" in line]

    assert [("csbrnn: " in line, "sequence" in line) for line in lines] == [
        (True, False),
        (False, False),
        (False, False),
        (True, False),
        (False, False),
        (False, True),
        (False, False),
    ]
    assert "4.0x faster" in lines[1]
    assert "40.0x faster" in lines[2]


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
    assert "Skipped pytorch: default (sr at 1): pip install 'csbrnn[bench]'" in printed(RESULT)
