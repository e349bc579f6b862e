"""`Bisection`: how far along a row of values the accuracy bound holds, in few trials."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Generic, TypeVar, final

__all__ = ["Bisection"]

T = TypeVar("T", bound=Hashable)


@final
class Bisection(Generic[T]):
    """Finds the last value of a row that holds, where those before it hold too.

    The last value is tried first: where all hold, one trial says so. Then the row is halved.

    Args:
        values: From the mildest to the harshest.
        known: What is known of some of them: whether they hold.
    """

    def __init__(self, values: Sequence[T], known: Mapping[T, bool]) -> None:
        self.values = tuple(values)
        held = [k for k, value in enumerate(self.values) if known.get(value) is True]
        failed = [k for k, value in enumerate(self.values) if known.get(value) is False]
        self._first_failed = min(failed, default=len(self.values))
        self._last_held = max((k for k in held if k < self._first_failed), default=-1)

    @property
    def next(self) -> T | None:
        """The value to try now; None if nothing is left to find."""
        if not self.values or self._first_failed - self._last_held <= 1:
            return None
        if self._first_failed == len(self.values):
            return self.values[-1]
        return self.values[(self._last_held + self._first_failed) // 2]

    @property
    def dropped(self) -> tuple[T, ...]:
        """Values that fail: one that was tried, and all harsher ones."""
        return self.values[self._first_failed :]

    @property
    def held(self) -> T | None:
        """The harshest value that is known to hold."""
        return None if self._last_held < 0 else self.values[self._last_held]
