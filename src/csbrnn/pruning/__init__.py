"""Pruning: how training gets from dense weights to a pattern.

:func:`prune_` sets a model up by a :class:`Recipe` (pattern, density, method, which weights) and
returns the :class:`Pruner` that a training loop calls. A :class:`Method` (:class:`Gradual`,
:class:`ADMM`, :class:`GroupLasso`, :class:`ThresholdPruning`) decides what happens at each step;
:class:`Distillation` adds the dense network as a teacher, and a recipe's precision rounds weights
in forward passes.
"""

from csbrnn.pruning.admm import ADMM as ADMM
from csbrnn.pruning.block_choice import BlockChoice as BlockChoice
from csbrnn.pruning.block_choice import choose_blocks as choose_blocks
from csbrnn.pruning.distill import Distillation as Distillation
from csbrnn.pruning.gradual import Gradual as Gradual
from csbrnn.pruning.gradual import OneShot as OneShot
from csbrnn.pruning.group_lasso import GroupLasso as GroupLasso
from csbrnn.pruning.lasso_strength import lasso_strength as lasso_strength
from csbrnn.pruning.method import Method as Method
from csbrnn.pruning.prune import prune_ as prune_
from csbrnn.pruning.prune import pruner_of as pruner_of
from csbrnn.pruning.prune import pruners_of as pruners_of
from csbrnn.pruning.pruner import Pruner as Pruner
from csbrnn.pruning.recipe import Recipe as Recipe
from csbrnn.pruning.sensitivity import fisher_sensitivity as fisher_sensitivity
from csbrnn.pruning.sensitivity import loss_sensitivity as loss_sensitivity
from csbrnn.pruning.targets import unwrap as unwrap
from csbrnn.pruning.threshold import ThresholdPruning as ThresholdPruning

__all__ = [
    "ADMM",
    "BlockChoice",
    "Distillation",
    "Gradual",
    "GroupLasso",
    "Method",
    "OneShot",
    "Pruner",
    "Recipe",
    "ThresholdPruning",
    "choose_blocks",
    "fisher_sensitivity",
    "lasso_strength",
    "loss_sensitivity",
    "prune_",
    "pruner_of",
    "pruners_of",
    "unwrap",
]
