"""`CarriedStates`: a teacher's own states, where a student gets back what it returned before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

from torch import Tensor

__all__ = ["CarriedStates"]


@final
class CarriedStates:
    """Remembers what student and teacher returned last, to give each its own states back.

    A loop that cuts long sequences passes the states that one call returned to the next. A teacher
    that got the student's would go on from states in which it never would have been.

    Loops also reset states where streams begin anew, by zeros, and drop streams off the end of a
    last batch: so states are exchanged vector by vector.

    Attributes:
        pairs: What both returned from the last call, copies.
        foreign: Whether an argument of a state's shape was neither zero nor what the student had
            returned: the teacher got it unchanged.
    """

    def __init__(self) -> None:
        self.foreign = False
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def remember(self, student: Any, teacher: Any, logits: Tensor) -> None:
        """Takes what both returned from one call, all tensors but the student's logits."""
        pairs = zip(_tensors(student), _tensors(teacher), strict=False)
        self.pairs = [
            # Of the student's a copy, for loops change states in place.
            (mine.detach().clone(), his.detach())
            for mine, his in pairs
            if mine is not logits and mine.is_floating_point() and mine.shape == his.shape
        ]

    def exchanged(self, value: Any) -> Any:
        """Returns arguments with the teacher's tensors in place of the student's."""
        if isinstance(value, Tensor):
            return self._of_teacher(value)
        if isinstance(value, Mapping):
            return {key: self.exchanged(item) for key, item in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(self.exchanged, value))
        if isinstance(value, tuple | list):
            return type(value)(map(self.exchanged, value))
        return value

    def _of_teacher(self, given: Tensor) -> Tensor:
        alike = [
            (mine[_first(given)], his[_first(given)])
            for mine, his in self.pairs
            if mine.ndim == given.ndim
            and mine.dtype == given.dtype
            and all(ours >= theirs for ours, theirs in zip(mine.shape, given.shape, strict=True))
        ]
        for mine, his in alike:
            back = given.to(mine.device)
            same = (mine == back).all(-1, keepdim=True)
            reset = (back == 0).all(-1, keepdim=True) & ~same
            if bool((same | reset).all()):
                return his.masked_fill(reset.to(his.device), 0)
        if bool(given.any()) and any(mine.shape == given.shape for mine, _ in self.pairs):
            self.foreign = True
        return given


def _first(given: Tensor) -> tuple[slice, ...]:
    """The index of as many elements along every axis, from the first."""
    return tuple(slice(length) for length in given.shape)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _tensors(item)
