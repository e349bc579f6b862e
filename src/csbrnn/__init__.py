"""Small and fast recurrent networks: prune, pack, compile, and prove that it is the same network.

::

    pruner = csbrnn.prune_(model, csbrnn.Recipe(csbrnn.CSB((16, 64), 16), pruning_rate=8, ...))
    ...                                          # your training loop, with
    loss = pruner.loss(loss); ...; pruner.step() # two lines more
    packed = csbrnn.pack(model)                  # the surviving weights
    engine = csbrnn.compile(packed)              # no PyTorch from here on
    y, state = engine.step(x, engine.initial_state())

Importing csbrnn is quick: what needs PyTorch is imported when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csbrnn import errors
from csbrnn.errors import CsbrnnError, CsbrnnWarning, MissingDependencyError
from csbrnn.optional import late_names

if TYPE_CHECKING:
    from csbrnn.cells import CELLS, Cell, Stack
    from csbrnn.model import PackedModel, load, save
    from csbrnn.nn import pack
    from csbrnn.patterns import (
        CSB,
        NM,
        BankBalanced,
        Block,
        BlockCirculant,
        Pattern,
        RowBalanced,
        RowColumn,
        Unstructured,
    )
    from csbrnn.pruning import (
        ADMM,
        Distillation,
        Gradual,
        GroupLasso,
        OneShot,
        Pruner,
        Recipe,
        ThresholdPruning,
        prune_,
        pruner_of,
    )
    from csbrnn.runtime import Engine, State, compile
    from csbrnn.units import Permutation, permute_, shrink

__version__ = "0.1.0"

#: Public name -> the room that has it.
_ROOMS = {
    "cells": ("CELLS", "Cell", "Stack"),
    "model": ("PackedModel", "load", "save"),
    "nn": ("pack",),
    "patterns": (
        "CSB",
        "NM",
        "BankBalanced",
        "Block",
        "BlockCirculant",
        "Pattern",
        "RowBalanced",
        "RowColumn",
        "Unstructured",
    ),
    "pruning": (
        "ADMM",
        "Distillation",
        "Gradual",
        "GroupLasso",
        "OneShot",
        "Pruner",
        "Recipe",
        "ThresholdPruning",
        "prune_",
        "pruner_of",
    ),
    "runtime": ("Engine", "State", "compile"),
    "units": ("Permutation", "permute_", "shrink"),
}

__all__ = [
    "ADMM",
    "CELLS",
    "CSB",
    "NM",
    "BankBalanced",
    "Block",
    "BlockCirculant",
    "Cell",
    "CsbrnnError",
    "CsbrnnWarning",
    "Distillation",
    "Engine",
    "Gradual",
    "GroupLasso",
    "MissingDependencyError",
    "OneShot",
    "PackedModel",
    "Pattern",
    "Permutation",
    "Pruner",
    "Recipe",
    "RowBalanced",
    "RowColumn",
    "Stack",
    "State",
    "ThresholdPruning",
    "Unstructured",
    "compile",
    "errors",
    "load",
    "pack",
    "permute_",
    "prune_",
    "pruner_of",
    "save",
    "shrink",
]


__getattr__ = late_names(
    __name__, {name: room for room, names in _ROOMS.items() for name in (room, *names)}
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
