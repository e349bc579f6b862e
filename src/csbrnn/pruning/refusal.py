"""Refusing with all reasons at once."""

from __future__ import annotations

from collections.abc import Sequence

from csbrnn.checks import is_integer
from csbrnn.errors import RecipeError

__all__ = ["refuse", "step_reasons"]


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
        if not is_integer(getattr(settings, key), low)
    ]
