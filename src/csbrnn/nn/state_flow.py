"""How states pass through a forward: in from the caller, out to the caller, or from zero."""

from __future__ import annotations

from typing import Any

from csbrnn.nn.values import UNKNOWN, FinalState, GivenStates, Stream, flatten, is_zeros, place_of

__all__ = ["StateFlow"]

_Path = tuple[Any, ...]


class StateFlow:
    """The states of a model's recurrent layers, between the caller and the layers.

    A packed model carries every state from call to call, and begins with zero. A forward computes
    the same if each layer begins with zero, or with what the caller passes in.

    Args:
        stepwise: Whether one call is one step. Then states must be passed in and returned, in one
            order: a forward that begins each step with zero has no memory, and a packed model does.
    """

    def __init__(self, *, stepwise: bool) -> None:
        self.stepwise = stepwise
        self._given: dict[_Path, FinalState] = {}
        self._layers: list[str] = []
        self._count: dict[str, int] = {}

    def enter(self, layer: str, count: int, states: Any) -> list[str]:
        """Notes what a layer begins with.

        Args:
            layer: The layer's name.
            count: How many states its cell has.
            states: What it was called with; None where that was left out.

        Returns:
            Reasons why a packed model can't begin so.
        """
        self._layers.append(layer)
        self._count[layer] = count
        if isinstance(states, GivenStates) and count > 1:
            states = tuple(GivenStates((*states.path, k)) for k in range(count))
        begins: list[Any] = [None] * count if states is None else list(flatten(states))
        if UNKNOWN in begins:
            return []
        if all(state is None or is_zeros(state) for state in begins):
            if not self.stepwise:
                return []
            return [
                "begins every step with zero states: pass its states in and return them, "
                "as forward(x, states) -> (y, states)"
            ]
        if len(begins) != count or not all(isinstance(s, GivenStates) for s in begins):
            return [
                "begins with states that are neither zero nor passed in by the caller; a packed "
                "model begins with zero, and carries its states from call to call"
            ]
        reasons = []
        for position, state in enumerate(begins):
            taken = next((p for p in self._given if _overlap(p, state.path)), None)
            if taken is not None:
                reasons.append(f"shares its states with {self._given[taken].layer}")
            self._given[state.path] = FinalState(layer, position)
        return reasons

    def leave(self, extras: list[Any]) -> list[str]:
        """Checks what forward returns beside the output.

        Args:
            extras: The other returned values, flattened.

        Returns:
            Reasons why they are not a packed model's states.
        """
        returned: list[FinalState] = []
        reasons = []
        for extra in extras:
            if isinstance(extra, FinalState):
                returned.append(extra)
            elif isinstance(extra, Stream) and extra.state is not None:
                returned.append(extra.state)
            elif extra is not None and extra is not UNKNOWN:
                reasons.append(
                    "forward must return the output of each step, or that and the states; "
                    f"it also returns {_kind(extra)}"
                )
        if reasons or UNKNOWN in extras:
            return reasons
        given = [self._given[path] for path in sorted(self._given, key=_order)]
        if self.stepwise:
            lost = [n for n in self._layers if n not in {state.layer for state in returned}]
            if lost:
                return [f"the states of {', '.join(lost)} after the step are not returned"]
        if given and returned and given != returned:
            return ["states are returned in another order than they are passed in"]
        return []


def _overlap(a: _Path, b: _Path) -> bool:
    shorter = min(len(a), len(b))
    return a[:shorter] == b[:shorter]


def _order(path: _Path) -> list[tuple[int, str]]:
    return [place_of(step) for step in path]  # as `flatten` lists what forward returns


def _kind(value: Any) -> str:
    return "another tensor" if isinstance(value, Stream) else f"{value!r:.60}"
