import io
import itertools
import json

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from csbrnn.explore.outcome import Bounds, Cost, Outcome
from csbrnn.explore.result import ExploreResult, Tried, pareto_front
from csbrnn.explore.space import DENSE, Configuration
from csbrnn.files import write_json

POINTS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), max_size=25)


def dominated(point, other, sign):
    ours = (sign * point[0], *point[1:])
    theirs = (sign * other[0], *other[1:])
    return theirs != ours and all(a <= b for a, b in zip(theirs, ours, strict=True))


@given(POINTS, st.booleans())
def test_the_front_is_what_nothing_beats(points, lower):
    outcomes = [Outcome(float(m), Cost(float(t), n)) for m, t, n in points]
    front = pareto_front(outcomes, ("step_us", "nbytes"), lower_is_better=lower)
    sign = 1 if lower else -1
    for point, on in zip(points, front, strict=True):
        assert on != any(dominated(point, other, sign) for other in points)
    kept = list(itertools.compress(points, front))
    assert bool(kept) == bool(points)
    assert all(point in kept or any(dominated(point, k, sign) for k in kept) for point in points)


def made(size, metric, step_us, nbytes, **more):
    configuration = Configuration("gru", size, 1, DENSE, 1.0, "fp32")
    outcome = Outcome(metric, Cost(step_us, nbytes, machine="cpu"))
    return Tried(configuration, "free", outcome, **more)


def result(*trials, reference=None):
    return ExploreResult(
        name="test",
        metric="bits",
        bounds=Bounds(True, 0.1, None, {}),
        reference=reference,
        costs=("step_us", "nbytes"),
        trials=trials,
        left_out=("something: cannot",),
        notes=("block: dropped",),
        why="the budget is spent",
    )


def test_table_and_file(tmp_path):
    reference = made(64, 2.0, 9.5, 9000, within=True)
    given_up = Tried(
        Configuration("gru", 4, 1, DENSE, 1.0, "int8"),
        "free",
        Outcome(float("nan"), None, "accuracy", "3.1 after 7 steps"),
        within=False,
    )
    cheap, fine = (
        made(8, 2.09, 1.25, 800, within=True, best=True),
        made(32, 2.01, 4.5, 3000, within=True, best=True),
    )
    found = result(reference, fine, given_up, cheap, reference=reference)
    assert found.front == (cheap, fine)
    assert found.threshold == 2.1
    write_json(tmp_path / "result.json", found.to_dict())
    stored = json.loads((tmp_path / "result.json").read_text())
    assert [trial["hidden_size"] for trial in stored["front"]] == [8, 32]
    assert stored["trials"][2]["metric"] is None
    assert stored["trials"][2]["reason"] == "3.1 after 7 steps"
    assert stored["threshold"] == 2.1

    console = Console(file=io.StringIO(), width=120)
    console.print(found.table())
    shown = console.file.getvalue()
    for text in ("gru 1 x 8", "1.25", "3,000", "(reference)", "1 given up for accuracy", "2.1000"):
        assert text in shown


def test_other_machines_are_warned_of():
    one, other = made(8, 2.0, 1.0, 1, within=True), made(9, 2.0, 1.0, 1, within=True)
    other = Tried(
        other.configuration, "free", Outcome(2.0, Cost(1.0, 1, machine="arm")), within=True
    )
    assert result(one, other).machines == ["arm", "cpu"]
    console = Console(file=io.StringIO(), width=120)
    console.print(result(one, other).table())
    assert "2 kinds of machines" in " ".join(console.file.getvalue().split())
