"""Units: everything that belongs to one hidden unit, wherever it appears.

A unit is a row of every gate, a bias, and a column of every weight that reads it. `spaces` finds
these in a packed model, `module` in a torch module. `shrink` takes units out that are zero
(`silence` and `liveness` say which); `permute_` puts units in an order that keeps more energy.
What works on torch modules is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from csbrnn.errors import MissingDependencyError
from csbrnn.units.shrinking import shrink

if TYPE_CHECKING:
    from csbrnn.units.permutation import Permutation, permute_

__all__ = ["Permutation", "permute_", "shrink"]


def __getattr__(name: str) -> Any:
    if name not in ("Permutation", "permute_"):
        raise AttributeError(f"module 'csbrnn.units' has no attribute {name!r}")
    try:
        module = importlib.import_module("csbrnn.units.permutation")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            f"csbrnn.units.{name} needs PyTorch, which is not installed: pip install"
            " 'csbrnn[train]'"
        ) from None
    value = getattr(module, name)
    globals()[name] = value
    return value
