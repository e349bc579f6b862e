from csbrnn.bench import BenchResult, Skipped
from csbrnn.bench.markdown import case_markdown, goals_markdown, peers_markdown

from .test_report import row

RESULT = BenchResult(
    {"cpu": "a CPU", "cpus_usable": 2, "packages": {"torch": "2.9", "openvino": None}},
    {},
    (),
    (
        row("onnxruntime", 200.0, precision="int8"),
        row("csbrnn", 50.0, variant="as packed", layout="block=16x64 row_group=16"),
        row("csbrnn", 30.0, 2, variant="as packed", layout="block=16x64 row_group=16"),
        row("csbrnn", 70.0, variant="as packed", layout="block=16x64 row_group=16", cold=True),
    ),
    tuple(
        Skipped("sr", "pytorch", "default", "fp32", t, "first\n  - second\n  - third")
        for t in (1, 2)
    ),
)


def test_a_row_holds_all_that_one_contender_did():
    assert case_markdown(RESULT.to_dict()).splitlines() == [
        "*Measured* on a CPU, 2 CPUs (torch 2.9); median us a step.",
        "",
        "| contender | precision |  | 1 thread | 2 threads | cold | sequence | mat-vec | p99 "
        "| of the floor |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|---:|",
        "| **csbrnn** | fp32 | 16x64 g16 | 50.0 | 30.0 | 70.0 |  |  | 100 | 2% |",
        "| onnxruntime | int8 | default | 200 |  |  |  |  | 400 | 0% |",
        "",
        "- Not run: pytorch fp32, default: first second; third",
    ]


def test_peers_meet_at_their_fastest():
    slower = row("onnxruntime", 900.0, precision="fp32")
    fields = {**vars(RESULT), "rows": (slower, *RESULT.rows)}

    assert peers_markdown([BenchResult(**fields).to_dict()]).splitlines()[2:] == [
        "|  | csbrnn | ONNX Runtime | OpenVINO | PyTorch |  |",
        "|---|---:|---:|---:|---:|---:|",
        "| `sr`: LSTM 2 x 1024, pruned 13.5x | **50.0 (fp32)** | 200 (int8) |  |  | 4.0x |",
    ]


def test_goals_are_a_table_even_before_anything_is_measured():
    lines = goals_markdown({"one": [], "another": []}).splitlines()

    assert lines[0] == "|  | goal | one | another |"
    assert lines[2] == (
        "| sr int8, block=16x64 row_group=16: faster than onnxruntime int8 | >= 16.0x "
        "| not measured yet | not measured yet |"
    )
    assert len({line.count("|") for line in lines}) == 1


def test_goals_that_a_machine_reaches_are_bold():
    ours = row("csbrnn", 10.0, precision="int8", layout="block=16x64 row_group=16")
    faster = {**RESULT.to_dict(), "rows": [*RESULT.to_dict()["rows"], {**vars(ours)}]}
    lines = goals_markdown({"one": [faster], "another": [RESULT.to_dict()]}).splitlines()

    assert lines[2].endswith(
        "| >= 16.0x | **20.0x** (onnxruntime int8 200 us / csbrnn 10 us) | not measured yet |"
    )
