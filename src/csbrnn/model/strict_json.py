"""JSON from a stranger: bounded depth, unique keys, finite numbers, real text."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any, Final

from csbrnn.errors import FormatError
from csbrnn.formats import shown

__all__ = ["MAX_DEPTH", "check_json", "dump_json", "parse_json"]

MAX_DEPTH: Final = 32
"""Deepest nesting. Ours: configurations need 6, and Python's own limit is an exception away."""

_MAX_DIGITS: Final = 19
"""Digits of 2**63: converting longer integers takes quadratic time and serves nobody."""


def parse_json(data: bytes, where: str) -> object:
    """Return what JSON text says, or refuse it.

    Also refused are things Python's parser lets pass: duplicate keys, NaN and infinities, numbers
    too large for a double or a 64-bit integer, and text with unpaired surrogates.

    Args:
        data: UTF-8 text; its size is for the caller to bound.
        where: The file's name, for messages.

    Raises:
        FormatError: Whatever is wrong.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_constant=_constant,
        )
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except RecursionError:
        raise FormatError(f"{where}: must nest at most {MAX_DEPTH} deep") from None
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are such.
        raise FormatError(f"{where}: must be JSON in UTF-8: {error}") from None
    check_json(value, where)
    return value


def check_json(value: object, where: str) -> None:
    """Refuse a value that JSON can't hold, or that `parse_json` would refuse to read back.

    Raises:
        FormatError: Naming the first offending value.
    """
    # A stack of our own: the value may nest deeper than Python can recurse.
    pending: list[tuple[object, int]] = [(value, 0)]
    while pending:
        item, depth = pending.pop()
        if depth >= MAX_DEPTH and isinstance(item, dict | list | tuple):
            raise FormatError(f"{where}: must nest at most {MAX_DEPTH} deep")
        if isinstance(item, dict):
            pending += ((part, depth + 1) for entry in item.items() for part in entry)
            if not all(isinstance(key, str) for key in item):
                raise FormatError(f"{where}: keys must be strings")
        elif isinstance(item, list | tuple):
            pending += ((part, depth + 1) for part in item)
        elif isinstance(item, str):
            if not item.isascii() and any("\ud800" <= letter <= "\udfff" for letter in item):
                raise FormatError(f"{where}: text must be Unicode, not {shown(item)}")
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise FormatError(f"{where}: numbers must be finite, not {shown(item)}")
        elif isinstance(item, int):
            if not -(1 << 63) <= item < 1 << 63:
                raise FormatError(f"{where}: integers must fit 64 bits")
        elif item is not None:
            raise FormatError(f"{where}: can't be written as JSON: {type(item).__name__}")


def dump_json(value: object, where: str) -> bytes:
    """Return JSON text that `parse_json` reads back as the same value (tuples become lists).

    Raises:
        FormatError: The value can't be written so.
    """
    check_json(value, where)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).encode() + b"\n"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise FormatError(f"key {shown(twice)} appears twice")
    return value


def _integer(text: str) -> int:
    if len(text) > _MAX_DIGITS + 1:
        raise FormatError(f"integers must fit 64 bits, not {shown(text)}")
    return int(text)


def _constant(text: str) -> float:
    raise FormatError(f"numbers must be finite, not {text}")
