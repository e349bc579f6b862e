"""``csbrnn hw verilog``: the engine, a testbench and memory images, for one's own tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.accelerator import (
    DEFAULT_INPUT_RANGE,
    Arch,
    compile_model,
    host_input,
    trace,
)
from csbrnn.bench.cases import random_inputs
from csbrnn.compiler import lower
from csbrnn.errors import ArgumentError
from csbrnn.files import make_directory
from csbrnn.model import PackedModel
from csbrnn.optional import needed_for

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["verilog_hw"]


def verilog_hw(
    model: PackedModel,
    arch: Arch,
    out: Path,
    *,
    console: Console,
    steps: int = 2,
    input_range: float = DEFAULT_INPUT_RANGE,
    seed: int = 0,
) -> dict[str, Any]:
    """Write the files, print how to use them, and return what they are as JSON-able values.

    Args:
        model: The model whose run the testbench checks.
        arch: The accelerator.
        out: Folder to write to.
        console: Where it prints.
        steps: Steps of random input that the testbench runs.
        input_range: Largest magnitude of the input's features.
        seed: Of the inputs.

    Raises:
        ArgumentError: The folder can't be written.
        MissingDependencyError: Amaranth or Yosys is not installed.
        UnsupportedModelError: The model can't run on the arch; with all reasons.
    """
    make_directory(out)  # before the work, for it may fail
    with needed_for("emitting Verilog", "fpga"):
        from csbrnn.accelerator.rtl.testbench import write_testbench
    program = lower(model, fuse=False)
    compiled = compile_model(program, arch, input_range=input_range)
    xs = host_input(compiled.step, random_inputs(program, steps, input_range, seed))
    try:
        paths = write_testbench(compiled.image, xs, out)
    except OSError as error:
        raise ArgumentError(f"the files must be writable in {out}: {error}") from None
    for path in paths:
        console.print(f"  {path}: {path.stat().st_size:,} bytes", highlight=False, markup=False)
    console.print(
        "Run the testbench in that folder; it prints a line that begins with PASS or FAIL:\n"
        "  iverilog -o tb csbrnn.v csbrnn_tb.v && vvp tb\n"
        "  verilator --binary --timing -Wno-fatal --top-module csbrnn_tb csbrnn.v csbrnn_tb.v"
        " && obj_dir/Vcsbrnn_tb",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return {
        "arch": arch.name,
        "files": [str(path) for path in paths],
        "steps": steps,
        "model_cycles": trace(compiled.image, steps).end,
    }
