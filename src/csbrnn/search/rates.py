"""`RateSearch`: which pruning rate to try next. Pure arithmetic; trains nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, final

from csbrnn.checks import is_number, make_plain
from csbrnn.errors import ArgumentError

__all__ = ["STEP_SHARE", "Ladder", "RateSearch"]

STEP_SHARE: Final = 4
"""The search ends when its step is below the first one / 4 (CSB-RNN, algorithm 1)."""

_LEAST_STEP: Final = 1e-6
"""Of the first rate. Ours: a smaller step would be lost in rounding, and never get anywhere."""

_EXACT: Final = 1e-9
"""Relative rounding error that is no difference between rates: sums of binary fractions of the
step are exact to more digits than that."""


@final
@dataclass(frozen=True)
class Ladder:
    """The rates that a search may climb.

    Attributes:
        first: Pruning rate to try first, above 1.
        step: What is added to the rate while accuracy holds.
        max_rate: Highest rate to try.

    Units:
        Pruning rates: weights before / weights after.

    Raises:
        ArgumentError: A value is out of range; the message lists all.
    """

    first: float = 4.0
    step: float = 4.0
    max_rate: float = 1024.0

    def __post_init__(self) -> None:
        make_plain(self)
        reasons = [
            f"{name} must be a finite number above {least:g}, not {value!r}"
            for name, value, least in (
                ("first_rate", self.first, 1),
                ("step", self.step, 0),
                ("max_rate", self.max_rate, 1),
            )
            if not is_number(value) or not least < value < math.inf
        ]
        if not reasons and self.step < _LEAST_STEP * self.first:
            reasons.append(f"step {self.step:g} is no step beside first_rate {self.first:g}")
        if not reasons and self.first > self.max_rate:
            reasons.append(f"first_rate {self.first:g} is above max_rate {self.max_rate:g}")
        if reasons:
            raise ArgumentError("; ".join(reasons))


@final
class RateSearch:
    """The lossless search, one rate at a time: ask :meth:`next`, tell :meth:`record`.

    The rate rises by the step while accuracy holds. Where it does not, the search goes back to the
    last rate that held and halves the step. If already the first rate fails, it climbs down by the
    step until something holds, or nothing above 1 is left. Ends when the step is below a quarter
    of the first one. A rate at or above one that failed is never tried, so what is found is the
    highest rate that held, and lies within a quarter step (or less) of one that did not.

    That supposes that accuracy falls with the rate. Where it doesn't (noise), the search ends all
    the same, at a rate that held.

    Reference:
        CSB-RNN (Shi et al., 2020), algorithm 1; climbing down from a first rate that fails, and
        passing over rates known to fail, are ours.
    """

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.step = ladder.step
        self.best: float | None = None
        """Highest rate that held."""
        self.failed: float | None = None
        """Lowest rate that did not."""

    def next(self) -> float | None:
        """Returns the rate to try now; None if the search is over (see :attr:`why`)."""
        while not self.over:
            rate = self._candidate()
            if rate is not None:
                return rate
            self.step /= 2
        return None

    def record(self, rate: float, holds: bool) -> None:
        """Notes whether accuracy held at the rate that :meth:`next` returned.

        Raises:
            ArgumentError: The search did not ask for this rate.
        """
        asked = self.next()
        if asked is None or not math.isclose(asked, rate, rel_tol=_EXACT):
            raise ArgumentError(
                f"the search asked for the rate {asked}, and was told of {rate}: the log is of"
                " another search"
            )
        if holds:
            self.best = rate
        else:
            self.failed = rate
            if self.best is not None:
                self.step /= 2

    @property
    def over(self) -> bool:
        """Whether no rate is left to try."""
        return self._at_top or self.step * STEP_SHARE < self.ladder.step * (1 - _EXACT)

    @property
    def why(self) -> str:
        """Why the search is over, as a sentence."""
        if self._at_top:
            return f"accuracy still held at max_rate, {self.ladder.max_rate:g}x"
        ended = f"the step fell below a quarter of the first one, {self.ladder.step:g}"
        if self.best is None:
            return f"no rate above 1 held, and {ended}"
        return ended

    @property
    def _at_top(self) -> bool:
        return self.best is not None and self.best >= self.ladder.max_rate * (1 - _EXACT)

    def _candidate(self) -> float | None:
        """The rate one step away from what is known; None if the step must be halved first."""
        if self.best is not None:
            rate = min(self.best + self.step, self.ladder.max_rate)
            known = self.failed is not None and rate >= self.failed * (1 - _EXACT)
            return None if known else rate
        if self.failed is None:
            return self.ladder.first
        rate = self.failed - self.step
        return rate if rate > 1 + _EXACT else None
