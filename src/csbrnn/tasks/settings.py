"""Settings as files have them: the tables of a recipe, and dataclasses changed by tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from csbrnn.checks import is_integer, is_number, unknown_keys
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.files import load_toml

__all__ = ["check_ranges", "read_tables", "refusal", "replaced"]

T = TypeVar("T")


def read_tables(
    source: Path | Mapping[str, Any], name: str, *, known: Collection[str], needed: Collection[str]
) -> tuple[str, dict[str, Any], list[str]]:
    """Reads the tables of a recipe file.

    Args:
        source: A TOML file, or its contents.
        name: What it describes: "study".
        known: Keys that it may have.
        needed: Keys that it must have.

    Returns:
        Where the tables are, for messages; the tables; and a reason for each key that is unknown
        or missing.

    Raises:
        ArgumentError: The file can't be read.
    """
    if isinstance(source, Path):
        where, tables = str(source), load_toml(source)
    else:
        where, tables = f"the {name}", dict(source)
    article = "an" if name[0] in "aeiou" else "a"
    reasons = unknown_keys(f"{article} {name}", tables, known)
    reasons += [f"{key!r} is missing" for key in needed if key not in tables]
    return where, tables, reasons


def check_ranges(settings: object, **ranges: tuple[float, float]) -> None:
    """Refuses settings outside of their ranges, all at once.

    Args:
        settings: An object that has them.
        ranges: Least and most of each; where both are ints, the setting must be one.

    Raises:
        ArgumentError: One is something else, or outside.
    """
    reasons = []
    for name, (least, most) in ranges.items():
        value = getattr(settings, name)
        whole = isinstance(least, int) and isinstance(most, int)
        if not (is_integer(value) if whole else is_number(value)) or not least <= value <= most:
            kind = "a whole number" if whole else "a number"
            reasons.append(f"{name} must be {kind} in {least:g}..{most:g}, not {value!r}")
    if reasons:
        raise ArgumentError("; ".join(reasons))


def refusal(where: str, reasons: Sequence[str]) -> ArgumentError:
    """Returns the error that lists why what a file describes can't work."""
    return ArgumentError(f"{where} can't work:\n" + "\n".join(f"  - {r}" for r in reasons))


def replaced(where: str, default: T, changes: Any) -> T:
    """Returns a dataclass with some fields changed, as a table of a recipe file says.

    Args:
        where: The table's place, for messages.
        default: The dataclass.
        changes: The table.

    Raises:
        ArgumentError: A field is unknown, or a value doesn't fit.
    """
    names = [field.name for field in dataclasses.fields(default)]  # type: ignore[arg-type]
    if not isinstance(changes, Mapping):
        raise ArgumentError(f"{where} must be a table of settings, not {changes!r}")
    if unknown := [key for key in changes if key not in names]:
        raise ArgumentError(
            f"{where} has the settings {', '.join(names)}, and no {', '.join(map(repr, unknown))}"
        )
    try:
        return dataclasses.replace(default, **changes)  # type: ignore[type-var]
    except CsbrnnError as error:
        raise ArgumentError(f"{where}: {error}") from None
