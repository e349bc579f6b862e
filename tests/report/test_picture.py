import builtins

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("plotly")

from csbrnn.errors import MissingDependencyError
from csbrnn.report import AXES, draw_html, draw_png, frontier, picture, read_study

from .results import DENSE, PATTERNS, RATES, make_result


def test_a_png_has_four_plots_with_every_curve(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: drawn.append(self))
    result = make_result()
    for row in result["rows"]:
        if row["label"] == "new":
            row["kept_weights"] = row["kept_weights"] and row["kept_weights"] + 9  # other rates
    draw_png(read_study(result), tmp_path / "x.png")
    axes = drawn[0].axes
    assert [a.get_xlabel() for a in axes] == [axis.title for axis in AXES]
    by_rate = axes[0].get_legend_handles_labels()
    assert by_rate[1] == list(PATTERNS)
    line = by_rate[0][0].lines[0]
    assert list(line.get_xdata()) == list(RATES)
    assert line.get_ydata()[0] == pytest.approx(DENSE + 0.001 + 0.02)
    assert [label.get_text() for label in axes[0].get_xticklabels()] == ["4x", "8x", "16x", "32x"]
    deployed = axes[1].containers[0].lines[0]
    assert deployed.get_ydata()[-1] == pytest.approx(DENSE + 0.001 + 0.02 + 0.001)  # at 4x, in int8
    assert [a.get_ylabel() for a in axes[:2]] == [
        "bits per character",
        "bits per character in int8, as deployed",
    ]
    # Unstructured has no time: it is in the plot against time by name only.
    assert list(axes[2].containers[0].lines[0].get_xdata()) == []


def test_costs_have_a_frontier_and_rates_have_none(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: drawn.append(self))
    study = read_study(make_result())
    draw_png(study, tmp_path / "x.png")
    for axes, axis in zip(drawn[0].axes, AXES, strict=True):
        stairs = [line for line in axes.lines if line.get_label() == picture._FRONTIER]
        found = [list(zip(*line.get_data(), strict=True)) for line in stairs]
        assert found == ([] if axis.key == "pruning_rate" else [frontier(study, axis)])
    legend = [text.get_text() for text in drawn[0].legends[0].get_texts()]
    assert legend == [*PATTERNS, picture._FRONTIER]


def test_a_png_is_written(tmp_path):
    draw_png(read_study(make_result(seeds=(0,), patterns=["unstructured"])), tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")


def drawn_points(study, tmp_path, monkeypatch):
    """How many points each plot has: in the PNG, and in the page."""
    from matplotlib.figure import Figure
    from plotly.graph_objects import Figure as Page

    figures, pages = [], []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, **_: figures.append(self))
    monkeypatch.setattr(Page, "write_html", lambda self, path, **_: pages.append(self))
    draw_png(study, tmp_path / "x.png")
    draw_html(study, tmp_path / "x.html")
    in_png = [sum(len(bars.lines[0].get_xdata()) for bars in a.containers) for a in figures[0].axes]
    in_page = [0] * len(AXES)
    for trace in pages[0].data:
        if trace.name in PATTERNS:
            in_page[int((trace.xaxis or "x")[1:] or 1) - 1] += len(trace.x or ())
    return in_png, in_page


@pytest.mark.parametrize(
    ("without", "points"), [("gap", [4, 4, 4, 4]), ("us_per_step", [4, 4, 0, 4])]
)
def test_what_is_not_measured_is_left_out(tmp_path, monkeypatch, without, points):
    result = make_result(seeds=(0,), patterns=["stripes of 4"])
    for row in result["rows"]:
        row[without] = None
    in_png, in_page = drawn_points(read_study(result), tmp_path, monkeypatch)
    assert in_png == in_page == points


def test_a_study_of_a_dense_network_alone_can_be_drawn(tmp_path, monkeypatch):
    study = read_study(make_result(patterns=()))
    assert drawn_points(study, tmp_path, monkeypatch) == ([0] * 4, [0] * 4)
    draw_png(study, tmp_path / "x.png")


def test_a_page_needs_nothing_else(tmp_path):
    draw_html(read_study(make_result()), tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text()
    for label in PATTERNS:
        assert label in page
    assert "plotly.js v" in page
    assert "<script src=" not in page


def test_methods_are_named_where_there_are_several():
    study = read_study(make_result(methods=("admm", "gradual")))
    names = {picture._line(study, curve, AXES[0]).name for curve in study.curves}
    assert "unstructured, gradual" in names


@pytest.mark.parametrize(("draw", "package"), [(draw_png, "matplotlib"), (draw_html, "plotly")])
def test_missing_libraries_are_named(tmp_path, monkeypatch, draw, package):
    real = builtins.__import__

    def refuse(name, *args):
        if name.startswith(package):
            raise ModuleNotFoundError(name=name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(
        MissingDependencyError, match=rf"{package}, which .*: pip install 'csbrnn\[study\]'"
    ):
        draw(read_study(make_result()), tmp_path / "x")


def test_many_curves_have_no_style_twice():
    count = 3 * len(picture._COLORS)
    styles = {(n % len(picture._COLORS), picture._marker(n)) for n in range(count)}
    assert len(styles) == count
    assert len(picture._PNG_MARKERS) == len(picture._HTML_MARKERS)
