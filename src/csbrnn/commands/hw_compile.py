"""``csbrnn hw compile``: a model as a program and memories of the accelerator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from csbrnn.accelerator import DEFAULT_INPUT_RANGE, Arch, Compiled, compile_model, format_program
from csbrnn.files import write_text
from csbrnn.model import PackedModel

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["compile_hw", "compiled_dict"]


def compile_hw(
    model: PackedModel,
    arch: Arch,
    *,
    console: Console,
    assembly: Path | None = None,
    input_range: float = DEFAULT_INPUT_RANGE,
) -> dict[str, Any]:
    """Compile, print the program and how full the memories are, and return JSON-able values.

    Args:
        model: The model.
        arch: What to compile for.
        console: Where it prints.
        assembly: File for the program's text; printed if left out.
        input_range: Largest magnitude of the input's features.

    Raises:
        ArgumentError: The file can't be written.
        UnsupportedModelError: The model can't run on the arch; with all reasons.
    """
    compiled = compile_model(model, arch, input_range=input_range)
    text = format_program(compiled.image.program)
    if assembly is None:
        console.print(text, markup=False, highlight=False, soft_wrap=True, end="")
    else:
        write_text(assembly, text)
    result = compiled_dict(compiled)
    for name, (used, depth) in result["memories"].items():
        console.print(f"{name:8} {used:6} of {depth}", highlight=False)
    for note in result["step"]["notes"]:
        console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    return result


def compiled_dict(compiled: Compiled) -> dict[str, Any]:
    """What was compiled, as JSON-able values."""
    return {
        "arch": compiled.arch.to_dict(),
        "pes": compiled.arch.pes,
        "step": compiled.step.summary(),
        "memories": {name: list(use) for name, use in compiled.image.sizes().items()},
        "program": format_program(compiled.image.program).splitlines(),
    }
