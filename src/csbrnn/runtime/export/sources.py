"""Which of the runtime's C files an export holds.

The rule, so that new files find their way by themselves: every .c file that includes none
of ``csbrnn_many.h`` (several streams), ``csbrnn_pool.h`` (threads) and ``binding.h`` (Python),
directly or not, and all headers that these include. Files that ``#define ISA`` hold the kernels of
that instruction set.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Final

__all__ = ["exportable_isas", "exported_sources", "kernel_files", "source"]

_FOLDER: Final = Path(__file__).parent.parent / "c"
_NOT_FOR_DEVICES: Final = frozenset({"csbrnn_many.h", "csbrnn_pool.h", "binding.h"})


def exportable_isas() -> tuple[str, ...]:
    """Return all instruction sets that an export can hold, whatever this machine has."""
    return tuple(sorted(kernel_files(), key=lambda isa: (isa == "baseline", isa)))


def exported_sources(isas: Collection[str] | None = None) -> tuple[str, ...]:
    """Return the names of the C files that a build for one thread needs.

    Args:
        isas: Instruction sets to keep; by default all.
    """
    kept = exportable_isas() if isas is None else isas
    left_out = {file for isa, files in kernel_files().items() if isa not in kept for file in files}
    found: set[str] = set()
    for path in _FOLDER.glob("*.c"):
        needed = _with_includes(path.name)
        if path.name not in left_out and not needed & _NOT_FOR_DEVICES:
            found |= needed
    return tuple(sorted(found))


@cache
def kernel_files() -> dict[str, tuple[str, ...]]:
    """Return the files of each instruction set's kernels."""
    files: dict[str, tuple[str, ...]] = {}
    for path in sorted(_FOLDER.glob("*.c")):
        isa = re.search(r"^#define ISA (\w+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        if isa:
            files[isa[1]] = (*files.get(isa[1], ()), path.name)
    return files


def source(file: str) -> bytes:
    """Return what one of the files holds."""
    return (_FOLDER / file).read_bytes()


def _with_includes(file: str) -> set[str]:
    found: set[str] = set()
    todo = [file]
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            includes = re.findall(r'^[ \t]*#[ \t]*include "([^"]+)"', source(file).decode(), re.M)
            todo += includes
    return found
