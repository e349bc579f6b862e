from csbrnn.bench.goals import GOALS, Goal, reached

STRIPES = "block=16x64 row_group=16"


def row(contender, median_us, precision="int8", threads=1, **fields):
    known = {
        "case": "sr",
        "variant": "as packed" if contender == "csbrnn" else "default",
        "layout": STRIPES if contender == "csbrnn" else "dense",
        "mode": "step",
        "cold": False,
        "fraction": 0.5,
    }
    return {
        "contender": contender,
        "median_us": median_us,
        "precision": precision,
        "threads": threads,
        **known,
        **fields,
    }


RESULT = {
    "rows": [
        row("csbrnn", 20.0),
        row("csbrnn", 1.0, layout="dense", variant="unpruned"),
        row("csbrnn", 2.0, cold=True),
        row("csbrnn", 3.0, case="mt"),
        row("csbrnn", 4.0, precision="fp32"),
        row("csbrnn", 10.0, threads=2),
        row("csbrnn", 15.0, mode="matvec", fraction=0.9),
        row("onnxruntime", 400.0),
        row("onnxruntime", 300.0, variant="step graph"),
        row("onnxruntime", 100.0, threads=2),
        row("onnxruntime", 90.0, mode="sequence"),
        row("pytorch", 200.0),
    ]
}


def only(goal, *results):
    (entry,) = reached(results or [RESULT], [goal])
    return entry


def test_peers_count_at_their_best_with_one_thread():
    entry = only(Goal("sr", "int8", STRIPES, "peer", 16, ("onnxruntime", "int8")))

    assert entry.value == 15
    assert not entry.met
    assert entry.line == (
        "missed  sr int8, block=16x64 row_group=16: faster than onnxruntime int8: 15.0x, "
        "goal >= 16.0x (onnxruntime int8 300 us / csbrnn 20 us; step graph 15.0x, default 20.0x)"
    )


def test_the_fastest_of_all_peers():
    entry = only(Goal("sr", "int8", None, "peer", 10))

    assert entry.value == 10
    assert entry.met
    assert "pytorch int8 200 us" in entry.line


def test_two_threads_against_one():
    assert only(Goal("sr", "int8", STRIPES, "threads", 1.8)).value == 2


def test_the_floor_is_that_of_products_alone():
    entry = only(Goal("sr", "int8", STRIPES, "floor", 0.85))

    assert entry.met
    assert "90%, goal >= 85%" in entry.line


def test_times_must_be_below():
    assert only(Goal("sr", "int8", STRIPES, "time", 23)).met
    assert not only(Goal("sr", "int8", STRIPES, "time", 20)).met


def test_what_is_missing_is_open():
    for goal in GOALS:
        entry = only(goal, {"rows": []})
        assert entry.line.startswith("open    ")
        assert "not measured" in entry.line
        assert not entry.met


def test_results_are_not_mixed():
    ours, theirs = {"rows": [row("csbrnn", 20.0)]}, {"rows": [row("onnxruntime", 300.0)]}

    assert only(Goal("sr", "int8", STRIPES, "peer", 16), ours, theirs).value is None


def test_the_last_result_counts():
    later = {"rows": [row("csbrnn", 22.0)]}

    assert only(Goal("sr", "int8", STRIPES, "time", 23), RESULT, later).value == 22


def test_every_line_of_the_issue_is_there():
    assert [(g.case, g.kind, g.target) for g in GOALS] == [
        ("sr", "peer", 16), ("sr", "peer", 11), ("sr", "peer", 7), ("sr", "peer", 9),
        ("sr", "peer", 45), ("mt", "peer", 40), ("gru512", "peer", 10), ("small16", "peer", 10),
        ("small64", "peer", 8), ("sr", "threads", 1.8), ("mt", "threads", 1.8),
        ("sr", "floor", 0.85), ("mt", "floor", 0.85), ("sr", "time", 23), ("mt", "time", 67),
    ]  # fmt: skip
