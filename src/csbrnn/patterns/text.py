"""Patterns as text and as plain data, for command lines and recipe files."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from csbrnn.errors import ArgumentError
from csbrnn.patterns.bank_balanced import BankBalanced
from csbrnn.patterns.base import Pattern
from csbrnn.patterns.block import Block
from csbrnn.patterns.block_circulant import BlockCirculant
from csbrnn.patterns.csb import CSB
from csbrnn.patterns.n_m import NM
from csbrnn.patterns.row_balanced import RowBalanced
from csbrnn.patterns.row_column import RowColumn
from csbrnn.patterns.unstructured import Unstructured

__all__ = ["PATTERNS", "parse_pattern", "pattern_from_dict"]

PATTERNS: dict[str, type[Pattern]] = {
    pattern.name: pattern
    for pattern in (
        Unstructured,
        CSB,
        RowBalanced,
        BankBalanced,
        NM,
        Block,
        RowColumn,
        BlockCirculant,
    )
}
"""Every pattern by its name."""


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
