"""`WeakHook`: a hook on a user's module that neither keeps its owner alive nor is copied along."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Generic, TypeVar, final

__all__ = ["WeakHook", "is_ours"]

Owner = TypeVar("Owner")


@final
class WeakHook(Generic[Owner]):
    """A hook of a module or of a tensor that calls a function with its owner, while that lives.

    A hook hangs on what its owner holds: by a plain reference each would keep the other alive, and
    a copied or saved model would drag the owner along. This one copies and pickles as a hook that
    does nothing, so copies of a model are plain models.

    Args:
        owner: Whom the hook serves.
        action: Called with the owner and what torch gives to the hook; what it returns is what the
            hook returns.
    """

    def __init__(self, owner: Owner, action: Callable[..., Any]) -> None:
        self._owner, self._action = weakref.ref(owner), action

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What torch calls."""
        owner = self._owner()
        return None if owner is None else self._action(owner, *args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[..., None]:
        return _nothing

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[()]]:
        return _get_nothing, ()


def is_ours(hook: object) -> bool:
    """Returns whether a hook is one of these, or what such a one became in a copy."""
    return isinstance(hook, WeakHook) or hook is _nothing


def _nothing(*_: Any) -> None:
    """What a hook becomes in a copy of the model."""


def _get_nothing() -> Callable[..., None]:
    return _nothing
