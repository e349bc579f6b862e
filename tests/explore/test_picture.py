import pytest

pytest.importorskip("plotly")

from csbrnn.errors import MissingDependencyError
from csbrnn.explore.picture import draw

from .test_result import made, result


def test_the_page_stands_alone_and_shows_each_network(tmp_path):
    reference = made(64, 2.0, 9.5, 9000, within=True)
    trials = (
        reference,
        made(8, 2.09, 1.25, 800, within=True, best=True),
        made(32, 2.01, 4.5, 3000, within=True),
        made(4, 2.5, 1.0, 300, within=False),
    )
    path = tmp_path / "pareto.html"
    draw(result(*trials, reference=reference), path)
    page = path.read_text()
    assert "<script src=" not in page  # no network needed
    for text in (
        "gru 1 x 8, dense, fp32",
        "gru 1 x 32, dense, fp32",
        "gru 1 x 4, dense, fp32",
        "dense reference",
        "Pareto front",
        "accuracy bound",
        "measured time of a step",
        "bytes of the packed model",
    ):
        assert text in page


def test_nothing_tried_yet(tmp_path):
    draw(result(), tmp_path / "empty.html")
    assert (tmp_path / "empty.html").stat().st_size > 1000


def test_without_plotly(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(MissingDependencyError, match=r"csbrnn\[explore\]"):
        draw(result(), tmp_path / "none.html")
