"""The exception tree: everything csbrnn raises on purpose.

::

    CsbrnnError                 catch this to catch them all
    ├── ArgumentError           a value passed by the caller can't be used (a ValueError)
    ├── EquationError           a cell's equations are malformed (a ValueError)
    ├── RecipeError             a recipe contradicts itself or the model (a ValueError)
    ├── UnsupportedModelError   a model holds parts we can't carry: all reasons at once
    ├── FormatError             a file or buffer from outside is not a valid packed model
    ├── MissingDependencyError  an optional package is needed (an ImportError)
    ├── ToolError               a program that was called has failed
    └── HungError               simulated hardware doesn't come to an end

    CsbrnnWarning               something is likely not what was meant (a UserWarning)
    └── ScheduleWarning         pruning has not begun or not ended

A message says what must hold, what came instead, where (layer, file, key), and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "ArgumentError",
    "CsbrnnError",
    "CsbrnnWarning",
    "EquationError",
    "FormatError",
    "HungError",
    "MissingDependencyError",
    "RecipeError",
    "ScheduleWarning",
    "ToolError",
    "UnsupportedModelError",
]


class CsbrnnError(Exception):
    """The root of every error raised by csbrnn."""


class ArgumentError(CsbrnnError, ValueError):
    """A value passed by the caller can't be used."""


class EquationError(CsbrnnError, ValueError):
    """A cell's equations are malformed."""


class RecipeError(CsbrnnError, ValueError):
    """A pruning recipe contradicts itself, or the model it is applied to."""


class UnsupportedModelError(CsbrnnError):
    """A model holds parts that can't be carried; ``reasons`` lists all of them.

    Args:
        what: What was attempted, as the start of a sentence ("can't pack Net").
        reasons: One line per obstacle, each naming its place.
    """

    def __init__(self, what: str, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__(what + ":\n" + "\n".join(f"  - {reason}" for reason in self.reasons))


class FormatError(CsbrnnError):
    """A file or buffer from outside is not a valid packed model."""


class MissingDependencyError(CsbrnnError, ImportError):
    """An optional package is needed and not installed."""


class ToolError(CsbrnnError):
    """A program that was called has failed; the end of what it printed is in the message."""


class HungError(CsbrnnError):
    """Simulated hardware ran beyond the limit of cycles."""


class CsbrnnWarning(UserWarning):
    """Something is likely not what was meant."""


class ScheduleWarning(CsbrnnWarning):
    """A pruning schedule has not begun or has not ended."""
