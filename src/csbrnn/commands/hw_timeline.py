"""The timeline of a step: which groups are busy, and what each has to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator import Compiled, Trace, trace
from csbrnn.errors import ArgumentError
from csbrnn.files import make_directory, replace_file

__all__ = ["check_picture", "draw_timeline", "timeline_text"]

_STEPS = 3  # the middle one is in the steady state
_WIDTH = 64  # characters of a text bar


def check_picture(path: Path) -> None:
    """Refuse a file whose name says no kind of picture that matplotlib writes.

    Raises:
        ArgumentError: It doesn't; never where matplotlib is not installed, as none is drawn there.
    """
    try:
        from matplotlib.backend_bases import FigureCanvasBase
    except ModuleNotFoundError:
        return
    known = FigureCanvasBase.get_supported_filetypes()
    if path.suffix[1:].lower() not in known:
        raise ArgumentError(
            f"{path}: a picture's name must end in .png, or in another of {', '.join(known)}"
        )


def draw_timeline(compiled: Compiled, before: Compiled, path: Path) -> str:
    """Draw a PNG where matplotlib is installed, else return the picture as text.

    Args:
        compiled: The model, balanced.
        before: The same, not balanced.
        path: The file.

    Raises:
        ArgumentError: The file can't be written, or its name says no kind of picture.
    """
    check_picture(path)
    try:
        import matplotlib
    except ModuleNotFoundError:
        return timeline_text(compiled, before)
    matplotlib.use("Agg")
    from matplotlib import pyplot

    run = trace(compiled.image, _STEPS)
    count = len(compiled.image.segment_names)
    figure, (top, bottom) = pyplot.subplots(
        2, 1, figsize=(11, 8), height_ratios=(3, 2), layout="constrained"
    )
    origin = int(run.starts[count].min())
    for number in range(count, 2 * count):
        starts, stops = _group_spans(run, number, compiled)
        name = compiled.image.segment_names[number - count]
        colour = f"C{number % 10}"
        top.barh(
            np.arange(len(starts)), stops - starts, left=starts - origin, color=colour, label=name
        )
    for span in run.spans:
        if span.name == "VOP" and span.step == 1:
            top.barh(-1.5, span.stop - span.start, left=span.start - origin, color="0.35")
    top.set_yticks([-1.5, *range(compiled.arch.groups)])
    top.set_yticklabels(["vector", *map(str, range(compiled.arch.groups))], fontsize=7)
    top.set_xlabel("cycle of the step")
    top.set_ylabel("PEGroup: streams busy")
    top.set_title(f"{compiled.arch.name}: one step in the steady state (modelled)")
    top.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), fontsize=7, ncols=2)
    place = np.arange(compiled.arch.groups)
    bottom.bar(place - 0.2, before.loads, 0.4, label="before balancing", color="C3")
    bottom.bar(place + 0.2, compiled.loads, 0.4, label="after", color="C0")
    bottom.set_xticks(place)
    bottom.set_xlim(-1, len(place))
    bottom.set_xlabel("PEGroup")
    bottom.set_ylabel("words a step")
    bottom.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    kind = path.suffix[1:].lower()  # which the name does not say while it is written
    try:
        make_directory(path.parent)
        replace_file(path, lambda file: figure.savefig(file, dpi=130, format=kind))
    finally:
        pyplot.close(figure)
    return ""


def timeline_text(compiled: Compiled, before: Compiled) -> str:
    """The same as lines of text: each group's busy time, and its load before and after."""
    run = trace(compiled.image, _STEPS)
    count = len(compiled.image.segment_names)
    origin, end = int(run.starts[count].min()), int(run.ends[2 * count - 1].max()) + 1
    lines = [f"group  {'streams busy, one step':{_WIDTH}}  words before  after"]
    for group in range(compiled.arch.groups):
        bar = [" "] * _WIDTH
        for number in range(count, 2 * count):
            starts, stops = _group_spans(run, number, compiled)
            low = int((starts[group] - origin) * _WIDTH / (end - origin))
            high = int((stops[group] - origin) * _WIDTH / (end - origin))
            bar[low:high] = "ABCDEFGHIJKLMNOP"[(number - count) % 16] * (high - low)
        lines.append(
            f"{group:5}  {''.join(bar)}  {before.loads[group]:12,}  {compiled.loads[group]:,}"
        )
    names = (
        f"{'ABCDEFGHIJKLMNOP'[n % 16]}: {s}" for n, s in enumerate(compiled.image.segment_names)
    )
    return "\n".join([*lines, *names])


def _group_spans(
    run: Trace, number: int, compiled: Compiled
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First cycle and the one after the last of a segment in each group."""
    shape = (compiled.arch.groups, compiled.arch.streams)
    starts = run.starts[number].reshape(shape).min(axis=1)
    stops = run.ends[number].reshape(shape).max(axis=1) + 1
    return starts, stops
