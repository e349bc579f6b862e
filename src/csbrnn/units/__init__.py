"""Units: everything that belongs to one hidden unit, wherever it appears.

A unit is a row of every gate, a bias, and a column of every weight that reads it. `spaces` finds
these in a packed model, `module` in a torch module. `shrink` takes units out that are zero
(`silence` and `liveness` say which); `permute_` puts units in an order that keeps more energy.
What works on torch modules is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csbrnn.optional import late_names
from csbrnn.units.shrinking import shrink

if TYPE_CHECKING:
    from csbrnn.units.permutation import Permutation, permute_

__all__ = ["Permutation", "permute_", "shrink"]

__getattr__ = late_names(__name__, {"Permutation": "permutation", "permute_": "permutation"})
