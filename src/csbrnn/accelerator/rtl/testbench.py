"""A self-checking Verilog testbench and its memory images, for any Verilog simulator."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Final

import numpy as np

from csbrnn.accelerator.arch import X_BITS
from csbrnn.accelerator.cycles import trace
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.loading import stimulus_of
from csbrnn.accelerator.rtl.compiled import DRIVERS
from csbrnn.accelerator.rtl.emit import emit_verilog
from csbrnn.accelerator.simulator import Simulator
from csbrnn.numerics import Ints

__all__ = ["write_testbench"]

_LIMIT: Final = 4
"""Times the cycles it should take that a run, or loading, may take before it counts as hung. Ours:
a beat is loaded in a cycle, and both halves of y are cleared before the engine is ready."""

_SLACK: Final = 1000
"""And cycles beyond. Ours."""


def write_testbench(image: Image, xs: Ints, folder: Path) -> tuple[Path, ...]:
    """Write the engine, a testbench for it, and what the testbench reads.

    Args:
        image: What is loaded.
        xs: Inputs. Shape: (steps, input_length), 16-bit integers.
        folder: Made if it isn't there.

    Returns:
        ``csbrnn.v``, ``csbrnn_tb.v``, ``load.hex``, ``input.hex``, ``expected.hex``.

    Raises:
        MissingDependencyError: Yosys is not installed.
    """
    arch, stimulus = image.arch, stimulus_of(image, xs)
    packets = Simulator(image).packets(xs)
    lanes = arch.x_write
    expected = np.concatenate([np.asarray(p).reshape(-1, lanes) for p in packets])
    expected_last = np.zeros(len(expected), np.bool_)
    expected_last[np.cumsum([len(p) // lanes for p in packets]) - 1] = True
    cycles = trace(image, len(xs)).end
    text = Template((DRIVERS / "testbench.v").read_text("utf-8")).substitute(
        beat_bits=X_BITS * lanes,
        loads=len(stimulus.load),
        inputs=len(stimulus.inputs),
        outputs=len(expected),
        steps=len(xs),
        cycles=cycles,
        limit=_LIMIT * cycles + _SLACK,
        load_limit=_LIMIT * len(stimulus.load) + _SLACK,
        ready_limit=_LIMIT * 2 * arch.y + _SLACK,
    )
    contents = {
        "csbrnn.v": emit_verilog(arch),
        "csbrnn_tb.v": text,
        "load.hex": _lines(f"{word:08x}" for word in stimulus.load.tolist()),
        "input.hex": _beats(stimulus.inputs, stimulus.input_last),
        "expected.hex": _beats(expected, expected_last),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, content in contents.items():
        path = folder / name
        path.write_text(content, "utf-8")
        paths.append(path)
    return tuple(paths)


def _beats(values: Ints, last: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> str:
    """One beat a line: TLAST above the values, the first value in the low bits."""
    digits, mask = X_BITS // 4, (1 << X_BITS) - 1
    return _lines(
        f"{int(end)}" + "".join(f"{value & mask:0{digits}x}" for value in reversed(beat))
        for beat, end in zip(values.tolist(), last.tolist(), strict=True)
    )


def _lines(rows: Iterable[str]) -> str:
    return "\n".join(rows) + "\n"
