"""Tables and pictures of studies, from result files only.

`curves` reads a result and interpolates between rates, `table` writes tables, `picture` PNG and
HTML.
"""

from csbrnn.report.curves import AXES, Axis, Curve, Point, Study, frontier, read_study
from csbrnn.report.picture import draw_html, draw_png
from csbrnn.report.table import (
    NoLoss,
    grid_markdown,
    no_loss,
    no_loss_markdown,
    terminal_tables,
)

__all__ = [
    "AXES",
    "Axis",
    "Curve",
    "NoLoss",
    "Point",
    "Study",
    "draw_html",
    "draw_png",
    "frontier",
    "grid_markdown",
    "no_loss",
    "no_loss_markdown",
    "read_study",
    "terminal_tables",
]
