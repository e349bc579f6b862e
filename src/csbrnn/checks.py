"""Checks of plain values, as callers and files give them: a bool is no number."""

from __future__ import annotations

import dataclasses
import math
import numbers
import re
from collections.abc import Collection, Iterable
from typing import Any, TypeGuard

__all__ = [
    "is_file_name",
    "is_finite",
    "is_integer",
    "is_number",
    "is_positive",
    "make_plain",
    "plain_number",
    "unknown_keys",
]


def is_integer(value: object, least: int | None = None) -> TypeGuard[int]:
    """Returns whether a value is an integer, of at least ``least``."""
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return least is None or value >= least


def is_number(value: object) -> TypeGuard[int | float]:
    """Returns whether a value is an integer or a float; it may be infinite or NaN."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_finite(value: object, least: float | None = None) -> TypeGuard[int | float]:
    """Returns whether a value is a finite number, of at least ``least``."""
    return is_number(value) and math.isfinite(value) and (least is None or value >= least)


def is_positive(value: object) -> TypeGuard[int | float]:
    """Returns whether a value is a finite number above 0."""
    return is_finite(value) and value > 0


def plain_number(value: Any) -> Any:
    """Returns a number of NumPy (``np.int64(8)``) as Python's own, anything else as it is.

    JSON and TOML know only those.
    """
    if isinstance(value, int | float):
        return float(value) if isinstance(value, float) else value
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if isinstance(value, numbers.Real) else value


def make_plain(settings: Any) -> None:
    """Makes the numbers among a dataclass's fields Python's own; to be called before checks."""
    for field in dataclasses.fields(settings):
        object.__setattr__(settings, field.name, plain_number(getattr(settings, field.name)))


def is_file_name(value: object) -> TypeGuard[str]:
    """Returns whether a value can name a file anywhere: letters, digits, "_", "-" and dots."""
    return isinstance(value, str) and bool(re.fullmatch(r"(?!\.+$)[\w.-]+", value))


def unknown_keys(what: str, keys: Iterable[Any], known: Collection[str]) -> list[str]:
    """Returns a reason for each key that a table should not have.

    Args:
        what: The table: "a search".
        keys: What it has.
        known: What it may have.
    """
    return [
        f"{key!r} is no key of {what}; there are {', '.join(known)}"
        for key in keys
        if key not in known
    ]
