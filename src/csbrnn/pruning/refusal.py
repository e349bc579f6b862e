"""Refusing with all reasons at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csbrnn.errors import RecipeError

__all__ = ["is_count", "is_number", "refuse", "step_reasons"]


def refuse(what: str, reasons: Sequence[str]) -> None:
    """Raises one RecipeError listing every reason; does nothing if there is none.

    Raises:
        RecipeError: There are reasons.
    """
    if reasons:
        raise RecipeError(what + ":\n" + "\n".join(f"  - {reason}" for reason in reasons))


def step_reasons(settings: object, **least: int) -> list[str]:
    """Returns a reason for each setting that is no number of steps, or below its least."""
    return [
        f"{key} must be a whole number of steps, at least {low}, not {getattr(settings, key)!r}"
        for key, low in least.items()
        if not is_count(getattr(settings, key), low)
    ]


def is_count(value: Any, least: int = 0) -> bool:
    """Returns whether ``value`` is an integer (no bool) of at least ``least``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def is_number(value: Any) -> bool:
    """Returns whether ``value`` is an integer or a float (no bool)."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)
