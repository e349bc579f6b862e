"""Filling in the files of ``templates/``.

``@word@`` stands for a value; lines between ``@if word``, ``@else`` and ``@end``, each alone on its
line, are kept or dropped. Unknown words are defects.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CONDITIONS", "array_words", "filled", "template"]

_FOLDER: Final = Path(__file__).parent / "templates"
CONDITIONS: Final = frozenset({"array", "binary", "tokens", "floats"})


def template(file: str) -> str:
    """Return a template as it is."""
    return (_FOLDER / file).read_text(encoding="utf-8")


def filled(file: str, values: Mapping[str, str], true: Collection[str]) -> bytes:
    """Return a template with its values and without the lines of conditions that don't hold.

    Args:
        file: Name of the template.
        values: By word.
        true: Those of `CONDITIONS` that hold.
    """
    lines: list[str] = []
    keep, inside = True, False
    for line in template(file).splitlines(keepends=True):
        directive = re.fullmatch(r"@(if|else|end)(?: (\w+))?\n", line)
        if directive is None:
            if keep:
                lines.append(line)
            continue
        kind, word = directive.groups()
        assert (kind == "if") != inside, (file, line)
        assert (kind == "if") == (word in CONDITIONS), (file, line)
        keep = word in true if kind == "if" else not keep if kind == "else" else True
        inside = kind != "end"
    assert not inside, file
    return re.sub(r"@(\w+)@", lambda found: values[found[1]], "".join(lines)).encode()


def array_words(data: NDArray[np.uint8]) -> str:
    """Return bytes as lines of 64-bit words in C, which compile twice as fast as 32-bit ones.

    Shape:
        data: (nbytes,), a multiple of 8
    """
    digits: Any = data.view("<u8").astype(">u8").tobytes().hex()
    lines = (
        ", ".join(f"0x{digits[k : k + 16]}" for k in range(row, min(row + 64, len(digits)), 16))
        for row in range(0, len(digits), 64)
    )
    return "".join(f"    {line},\n" for line in lines)
