"""What an export may be called."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from csbrnn.errors import ArgumentError
from csbrnn.runtime.export.sources import exported_sources

__all__ = ["identifier"]

_LONGEST: Final = 40
"""C11 promises 63 significant characters of an identifier; ours add up to 20."""

_HEADERS: Final = """
    assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
    stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar
    wchar wctype
    alloca endian features malloc memory pthread sched strings unistd
    arm_neon cpuid immintrin
"""
"""C11's, such as C libraries' own include, and compilers'. In a folder on the include path, a
math.h of ours would be found first."""

_TARGETS: Final = """
    main makefile license build cmakefiles
    all all_build clean edit_cache help install package package_source preinstall rebuild_cache
    run_tests test zero_check
"""
"""Files and targets of an export, folders of its builds, targets that CMake keeps for itself."""

_TAKEN: Final = frozenset(f"{_HEADERS} {_TARGETS}".split())


def identifier(name: object) -> str:
    """Return a name as C identifiers and files may begin with it.

    What C doesn't allow becomes "_"; "model_" is put before a digit.

    Raises:
        ArgumentError: Nothing is left, it is too long, or it would hide something else.
    """
    if not isinstance(name, str):
        raise ArgumentError(f"name must be text, got {type(name).__name__}")
    clean = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    if clean[:1].isdigit():
        clean = f"model_{clean}"
    if not 1 <= len(clean) <= _LONGEST:
        raise ArgumentError(
            f"name must come to 1..{_LONGEST} letters, digits and underscores, got {name!r}"
        )
    if clean.lower().startswith("csbrnn"):
        raise ArgumentError(f"name must not begin with csbrnn, as the runtime's do, got {name!r}")
    if clean.lower() in _TAKEN | {Path(file).stem for file in exported_sources()}:
        raise ArgumentError(
            f"name must not be {clean!r}: a file or build target of an export or of a C library has"
            f" it already; {clean}_model would do"
        )
    return clean
