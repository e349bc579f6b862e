"""`export_c`: from a model to a folder of C, and `Export`, what was written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import csbrnn
from csbrnn.compiler import Program, lower, verify_program
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.model import PackedModel, Recurrent
from csbrnn.runtime import layout
from csbrnn.runtime.engine import Engine
from csbrnn.runtime.export.folder import MANIFEST, check_folder, write_folder
from csbrnn.runtime.export.footprint import Footprint, measure
from csbrnn.runtime.export.names import identifier
from csbrnn.runtime.export.sources import exportable_isas, exported_sources, kernel_files, source
from csbrnn.runtime.export.templates import array_words, filled
from csbrnn.runtime.image import build_image

__all__ = ["Export", "Weights", "export_c"]

Weights = Literal["array", "binary"]
"""``array``: constants in a C header. ``binary``: a file beside the code."""


@dataclass(frozen=True)
class Export:
    """What was written, and what it needs.

    Attributes:
        folder: Where it is.
        name: The model's: what identifiers begin with.
        files: Names of all files written.
        isas: Instruction sets whose kernels are in it.
        flash_nbytes: Read-only bytes of the image: weights, indices, instructions. Exact.
        values_nbytes: Of them, the weights of matrix products themselves.
        state_nbytes: RAM a sequence: the size of NAME_state. Exact.
        saved_nbytes: Of them, what lives from step to step.
        footprint: Code and stack as one compiler makes them; None where none was at hand.
    """

    folder: Path
    name: str
    files: tuple[str, ...]
    isas: tuple[str, ...]
    flash_nbytes: int
    values_nbytes: int
    state_nbytes: int
    saved_nbytes: int
    footprint: Footprint | None

    def figures(self) -> list[tuple[str, str, str, str]]:
        """Return a table: what is needed, where, how many bytes, how that is known."""
        rows = [
            ("image: weights, indices, instructions", "flash", self.flash_nbytes, "exact"),
            ("of it, weights of products", "", self.values_nbytes, "exact"),
        ]
        code = self.footprint
        if code is not None:
            how = f"measured: {code.how}"
            rows.append(("code, with all kernels exported", "flash", code.code_nbytes, how))
            rows += [
                (f"of it, kernels for {n}", "", k, "measured") for n, k in code.kernels.items()
            ]
        rows += [
            (f"{self.name}_state, one a sequence", "RAM", self.state_nbytes, "exact"),
            ("of it, what lives from step to step", "", self.saved_nbytes, "exact"),
        ]
        if code is not None and code.stack_nbytes is not None:
            how = "derived, an upper bound: longest chain of the compiler's call graph and frames"
            rows.append((f"stack, below {self.name}_step and _init", "RAM", code.stack_nbytes, how))
        return [(what, where, f"{nbytes:,}", how) for what, where, nbytes, how in rows]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return {**asdict(self), "folder": str(self.folder)}


def export_c(
    model: PackedModel | Program | Engine,
    folder: str | Path,
    *,
    name: str = "model",
    weights: Weights = "array",
    isas: Sequence[str] | None = None,
    compiler: str | None = None,
) -> Export:
    """Write a causal model as C11 sources, its weights, an interface and an example.

    The export gives the bits that an `Engine` of one thread gives on the same machine.

    Args:
        model: A packed model, a program, or an engine of one thread.
        folder: Made if it isn't there. An earlier export in it is replaced; other files in it stay.
        name: What identifiers and files begin with; what C doesn't allow in one becomes "_".
        weights: Where the weights go.
        isas: Instruction sets to keep, of `exportable_isas`; by default all. Without "baseline" the
            export runs only on machines that have one of the others.
        compiler: C compiler to measure code and stack with, such as "aarch64-linux-gnu-gcc"; by
            default nothing is compiled.

    Raises:
        ArgumentError: An argument can't be used, or the folder holds something else.
        UnsupportedModelError: The model can't be run step by step on one thread; with all reasons.
    """
    name, kept = identifier(name), _kept_isas(isas)
    if weights not in get_args(Weights):
        raise ArgumentError(
            f"weights must be one of {', '.join(get_args(Weights))}, got {weights!r}"
        )
    check_folder(Path(folder))
    program, image = _program_and_image(model, kept)
    tokens = program.streams["input"].dtype == "int32"
    true = {weights, "tokens" if tokens else "floats"}
    sizes = _sizes(image)
    values = _values(name, program, kept, sizes) | _formats(image)

    files = {file: source(file) for file in exported_sources(kept)}
    texts = {f"{name}.c": "model.c", f"{name}.h": "model.h", "main.c": "main.c"}
    texts["csbrnn_config.h"] = "csbrnn_config.h"  # instead of the runtime's own, which has all
    if set(exportable_isas()) - set(kept):
        texts["csbrnn_left_out.c"] = "left_out.c"
    compiled = sorted(f for f in (*files, *texts) if f.endswith(".c") and f != "main.c")
    values["sources"] = " ".join(compiled)
    texts |= {file: file for file in ("Makefile", "CMakeLists.txt")}
    if weights == "array":
        texts[f"{name}_weights.h"] = "weights.h"
        values["words"] = array_words(image)
    else:
        files[f"{name}.bin"] = image.tobytes()
    files |= {file: filled(which, values, true) for file, which in texts.items()}

    footprint = None
    if compiler is not None:
        footprint = measure(
            compiler,
            {file: files[file] for file in files if file.endswith(".h") or file in compiled},
            kernel_files={file: isa for isa in kept for file in kernel_files()[isa]},
            image_nbytes=image.nbytes if weights == "array" else 0,
            entries=[f"{name}_{function}" for function in ("init", "step", "reset")],
            idle=_idle_kernels(image),
        )
    names = tuple(sorted([*files, "README.md", "LICENSE", MANIFEST]))
    export = Export(Path(folder), name, names, kept, **sizes, footprint=footprint)
    values |= _readme_values(export)
    for file in ("README.md", "LICENSE"):
        files[file] = filled(file, values, true)
    write_folder(export.folder, files, name)
    return export


# Arguments.


def _kept_isas(isas: Sequence[str] | None) -> tuple[str, ...]:
    known = exportable_isas()
    if isas is None:
        return known
    wrong = [isa for isa in isas if isa not in known]
    if wrong or not isas or isinstance(isas, str):
        got = ", ".join(map(repr, wrong)) if wrong and not isinstance(isas, str) else repr(isas)
        raise ArgumentError(f"isas must be some of {', '.join(known)}, got {got}")
    return tuple(isa for isa in known if isa in isas)


def _program_and_image(
    model: PackedModel | Program | Engine, isas: Sequence[str]
) -> tuple[Program, NDArray[np.uint8]]:
    """Return what is to be exported; every reason why it can't be is raised at once.

    Matrices are cut as is best for the one instruction set that is kept, or as all can take them.
    """
    if not isinstance(model, PackedModel | Program | Engine):
        raise ArgumentError(
            f"model must be a PackedModel, a Program or an Engine, got {type(model).__name__}"
        )
    reasons = _backward_layers(model) if isinstance(model, PackedModel) else []
    if isinstance(model, Engine) and model.threads > 1:
        reasons.append(
            f"the engine was compiled for {model.threads} threads, and an export has one: compile"
            " with threads=1"
        )
    try:
        program = lower(model) if isinstance(model, PackedModel) else _program_of(model)
        if not program.causal and not isinstance(model, PackedModel):
            reasons += _backward_passes(program)
        image = build_image(program, isa=isas[0] if len(isas) == 1 else None).data
    except UnsupportedModelError as error:
        raise UnsupportedModelError(_WHAT, [*reasons, *error.reasons]) from None
    if reasons or not program.causal:
        raise UnsupportedModelError(_WHAT, reasons or _backward_passes(program))
    return program, image


_WHAT: Final = "can't be exported to C"
_WHY: Final = "an export runs step by step and can't read its input backward"


def _program_of(model: Program | Engine) -> Program:
    if isinstance(model, Engine):
        return model.program
    verify_program(model)
    return model


def _backward_layers(model: PackedModel) -> list[str]:
    layers = [x for x in model.layers if isinstance(x, Recurrent) and x.stack.bidirectional]
    return [f"{layer.name} is bidirectional: {_WHY}" for layer in layers]


def _backward_passes(program: Program) -> list[str]:
    passes = [k for k, part in enumerate(program.passes) if part.reverse]
    if not passes:
        return [f"the program has {len(program.passes)} passes over time; an export runs one"]
    return [f"pass {k} of the program runs backward in time: {_WHY}" for k in passes]


# What is in the image.


def _records(image: NDArray[np.uint8], table: str, dtype: np.dtype[Any]) -> NDArray[Any]:
    place = _header(image)[table]
    start = int(place["offset"])
    return image[start : start + int(place["count"]) * dtype.itemsize].view(dtype)


def _header(image: NDArray[np.uint8]) -> Any:
    return image[: layout.HEADER.itemsize].view(layout.HEADER)[0]


def _sizes(image: NDArray[np.uint8]) -> dict[str, int]:
    header = _header(image)
    return {
        "flash_nbytes": image.nbytes,
        "values_nbytes": int(_records(image, "sections", layout.SECTION)["values_nbytes"].sum()),
        # Behind the memory lie two pointers; the structure is aligned to a line.
        "state_nbytes": 4 * int(header["memory_floats"]) + layout.LINE,
        "saved_nbytes": 4 * int(header["state_floats"]),
    }


def _idle_kernels(image: NDArray[np.uint8]) -> set[str]:
    """Return the opcodes that are not used: kernel functions have their names."""
    used = set(_records(image, "instructions", layout.INSTRUCTION)["opcode"].tolist())
    return {name for name, number in layout.OPCODES.items() if number not in used}


def _formats(image: NDArray[np.uint8]) -> dict[str, str]:
    """Return for each number format whether any weights of products are in it, as C has it."""
    used = set(_records(image, "sections", layout.SECTION)["dtype"].tolist())
    return {f"has_{name}": str(int(number in used)) for name, number in layout.DTYPES.items()}


# What templates are filled with.


def _values(
    name: str, program: Program, isas: Sequence[str], sizes: dict[str, int]
) -> dict[str, str]:
    source, output = program.streams["input"], program.streams["output"]
    what = f"tokens 0..{source.bound - 1}" if source.dtype == "int32" else f"{source.width} floats"
    tables = "\n".join(
        f"extern const csbrnn_kernels csbrnn_kernels_{isa};\n"
        f"const csbrnn_kernels csbrnn_kernels_{isa} = CSBRNN_NO_KERNELS;"
        for isa in exportable_isas()
        if isa not in isas
    )
    return {
        "name": name,
        "NAME": name.upper(),
        "version": csbrnn.__version__,
        "title": f"A recurrent network: {what} in, {output.width} floats out, a time step a call.",
        "input_size": str(source.width),
        "vocabulary": str(source.bound),
        "output_size": str(output.width),
        "memory_floats": str((sizes["state_nbytes"] - layout.LINE) // 4),
        **{key: str(value) for key, value in sizes.items()},
        "tables": tables,
    }


def _readme_values(export: Export) -> dict[str, str]:
    left_out = [isa for isa in exportable_isas() if isa not in export.isas]
    isas = (
        f"In this export: {', '.join(export.isas)}. All are compiled by plain `cc`, those of other"
        f" architectures to nothing; `{export.name}_init` takes the best that the machine has, and"
        f" `{export.name}_isa` names it."
    )
    if left_out:
        isas += f" Left out by `--isa`: {', '.join(left_out)}."
    if "baseline" not in export.isas:
        isas += f" On machines that have none of them, `{export.name}_init` gives BAD_ISA."
    elif len(export.isas) > 1:
        isas += " Those that your device doesn't have can be left out: `csbrnn export --isa`."
    notes = (
        "Flash is the image and the code; RAM is a state for each sequence, and the stack once a"
        " thread. Exact: fixed by the format, checked by the compiler. "
    )
    if export.footprint is None:
        notes += (
            "Code and stack were not measured; `csbrnn export` does it with the compiler that CC"
            " names."
        )
    else:
        notes += (
            "Measured: by `size`, without the image; `csbrnn export` takes the compiler that CC"
            " names."
        )
        if export.footprint.stack_nbytes is not None:
            notes += (
                " The stack is without what memcpy and interrupts take. On x86-64 it has the red"
                " zone, once, and for every frame the 56 bytes that aligning it may skip: of both"
                " the compiler says nothing."
            )
        else:
            notes += " The stack could not be derived: it takes gcc 10 or later."
    return {
        "figures": "\n".join(f"| {' | '.join(row)} |" for row in export.figures()),
        "notes": notes,
        "isas": isas,
    }
