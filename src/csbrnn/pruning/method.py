"""What a pruning method is: how training gets from dense weights to a pattern."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from csbrnn.patterns import Pattern
from csbrnn.pruning.state import PruningState

__all__ = ["Method"]


@dataclasses.dataclass(frozen=True)
class Method(abc.ABC):
    """The settings of a method, and what it does at each step of training.

    A method holds settings only, and all its memory lives in the :class:`PruningState` it is
    handed (``state.variables``), which is what checkpoints carry. Everything it does follows
    from ``state.step``, so a resumed run repeats the original bit for bit.

    To add a method: one file with one frozen dataclass, one line in ``METHODS`` (``recipe.py``),
    and its name in ``docs/pruning.md``, where a test looks for it.
    """

    name: ClassVar[str]
    """The method's key in recipe files."""

    @property
    @abc.abstractmethod
    def total_steps(self) -> int:
        """Optimizer steps until the schedule has ended; the support is then final."""

    @property
    def retraining_from(self) -> int:
        """Optimizer steps until the support is final, and only kept weights are still trained."""
        return self.total_steps

    @abc.abstractmethod
    def phase(self, step: int) -> str:
        """Names what the method is doing after ``step`` steps, in one word."""

    @abc.abstractmethod
    def prepare(self, state: PruningState) -> None:
        """Begins, before the first optimizer step."""

    def penalty(self, state: PruningState) -> Tensor | None:
        """Returns what the method adds to the loss now, in float32 with a graph; None for 0."""
        return None

    def needs_penalty(self, step: int) -> bool:
        """Returns whether the loss must include the penalty after ``step`` steps."""
        return False

    @abc.abstractmethod
    def step(self, state: PruningState) -> None:
        """Acts after optimizer step number ``state.step``."""

    def finalize(self, state: PruningState) -> None:
        """Ends at the target density, wherever the schedule stands."""
        if state.relaxation != 0:
            state.fix_support()
        state.wants_gradients = False
        state.variables.clear()

    def refusals(self, patterns: Sequence[Pattern], scope: str) -> list[str]:
        """Returns every reason why the method can't work with these patterns and this scope."""
        return []

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain data (JSON and TOML can carry it)."""
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        # TOML has no null: what is None is left out.
        return {"name": self.name} | {k: _plain(v) for k, v in fields.items() if v is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, Method):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value
