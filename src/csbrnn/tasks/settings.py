"""Settings as files have them: dataclasses changed by tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from csbrnn.errors import ArgumentError, CsbrnnError

__all__ = ["refusal", "replaced"]

T = TypeVar("T")


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
