"""Patterns as text and as plain data, for command lines and recipe files."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import pkgutil
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from csbrnn.errors import ArgumentError
from csbrnn.patterns.base import Pattern

__all__ = ["PATTERNS", "parse_pattern", "pattern_from_dict"]


def _patterns() -> dict[str, type[Pattern]]:
    """Find the patterns that this package's modules define."""
    package, found = __name__.rpartition(".")[0], dict[str, type[Pattern]]()
    for info in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if f"{package}.{info.name}" == __name__:
            continue
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            mine = inspect.isclass(value) and value.__module__ == module.__name__
            if mine and issubclass(value, Pattern) and not inspect.isabstract(value):
                if value.name in found:
                    raise TypeError(f"{value} and {found[value.name]} must not have one name")
                found[value.name] = value
    return found


PATTERNS: Final[Mapping[str, type[Pattern]]] = _patterns()
"""Every pattern by its name: to add one is to add a file to this package."""


def parse_pattern(text: str) -> Pattern:
    """Reads a pattern from its text form, such as ``csb(block=16x64,row_group=16)``.

    ``str(pattern)`` writes it. Fields left out take their defaults, and empty parentheses may
    be left out; sizes are joined by ``x``, with ``all`` for a whole dimension.

    Raises:
        ArgumentError: The text has another form, or names no pattern, or a field does not fit.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if match is None:
        raise ArgumentError(
            "a pattern must read like 'csb(block=16x64,row_group=16)' or 'unstructured',"
            f" not {text!r}"
        )
    fields: dict[str, Any] = {"name": match[1]}
    for part in filter(None, (part.strip() for part in (match[2] or "").split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not value:
            raise ArgumentError(f"pattern {text!r}: a field must read key=value, not {part!r}")
        if key in fields:
            raise ArgumentError(f"pattern {text!r}: {key!r} is given twice; keep one")
        fields[key] = _parse_value(value)
    return pattern_from_dict(fields)


def pattern_from_dict(data: Mapping[str, Any]) -> Pattern:
    """Builds a pattern from what :meth:`Pattern.to_dict` returned.

    Raises:
        ArgumentError: The name or a field is unknown, or a value does not fit.
    """
    fields = dict(data)
    name = fields.pop("name", None)
    if not isinstance(name, str) or name not in PATTERNS:
        raise ArgumentError(f"a pattern's name must be one of {', '.join(PATTERNS)}, not {name!r}")
    known = [field.name for field in dataclasses.fields(PATTERNS[name])]
    unknown = [key for key in fields if key not in known]
    if unknown:
        raise ArgumentError(
            f"pattern {name!r} has {'the fields ' + ', '.join(known) if known else 'no fields'},"
            f" and no {', '.join(map(repr, unknown))}"
        )
    return PATTERNS[name](**fields)


def _parse_value(text: str) -> Any:
    if re.fullmatch(r"(\d+|all)(x(\d+|all))+", text):
        return tuple(_parse_value(part) for part in text.split("x"))
    if text in ("true", "false"):
        return text == "true"
    return int(text) if re.fullmatch(r"-?\d+", text) else None if text == "all" else text
