"""Pruning: how training gets from dense weights to a pattern.

:func:`prune_` sets a model up by a :class:`Recipe` (pattern, density, method, which weights) and
returns the :class:`Pruner` that a training loop calls. A :class:`Method` (:class:`Gradual`,
:class:`ADMM`) decides what happens at each step; :class:`Distillation` adds the dense network as
a teacher, and a recipe's precision rounds weights in forward passes.
"""

from csbrnn.pruning.admm import ADMM as ADMM
from csbrnn.pruning.distill import Distillation as Distillation
from csbrnn.pruning.gradual import Gradual as Gradual
from csbrnn.pruning.gradual import OneShot as OneShot
from csbrnn.pruning.method import Method as Method
from csbrnn.pruning.prune import prune_ as prune_
from csbrnn.pruning.prune import pruner_of as pruner_of
from csbrnn.pruning.pruner import Pruner as Pruner
from csbrnn.pruning.recipe import Recipe as Recipe
from csbrnn.pruning.targets import unwrap as unwrap

__all__ = [
    "ADMM",
    "Distillation",
    "Gradual",
    "Method",
    "OneShot",
    "Pruner",
    "Recipe",
    "prune_",
    "pruner_of",
    "unwrap",
]
