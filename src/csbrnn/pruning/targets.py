"""Finding the weight matrices of a model that a recipe prunes, and those that it rounds."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeVar

from torch import nn
from torch.nn.parameter import UninitializedParameter

from csbrnn.errors import ArgumentError
from csbrnn.numerics import FP32, Precision, precision_of
from csbrnn.patterns import MaskPattern, Pattern
from csbrnn.patterns.base import budget
from csbrnn.pruning.forward_rounding import RoundedWeight
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.rounding import ROUNDING_DTYPES

if TYPE_CHECKING:
    from csbrnn.pruning.recipe import Recipe

__all__ = ["Target", "find_rounded", "find_targets", "unwrap"]

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """One weight matrix to prune.

    Attributes:
        names: Its qualified names in the model; more than one if modules share it.
        parameter: The weight itself, ``(gates * rows, inputs)``.
        gates: How many gates' matrices it stacks.
        pieces: Into how many equal parts, from top to bottom, it is cut and projected.
        pattern: Which weights may survive.
        density: Share of its weights to keep in the end.
        keep_diagonal: Whether the diagonal of each gate's matrix always stays.
        sensitivity: What a unit of energy is worth in a budget shared with other weights: one
            factor, or one for each gate; None for 1.
    """

    names: tuple[str, ...]
    parameter: nn.Parameter
    gates: int
    pieces: int
    pattern: Pattern
    density: float
    keep_diagonal: bool = False
    sensitivity: tuple[float, ...] | None = None

    @property
    def name(self) -> str:
        """The first of its names."""
        return self.names[0]


def unwrap(model: nn.Module) -> nn.Module:
    """Returns the model inside DistributedDataParallel, DataParallel and torch.compile."""
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def find_targets(model: nn.Module, recipe: Recipe) -> tuple[Target, ...]:
    """Finds the weights that ``recipe`` prunes, in the order of ``model.named_modules()``.

    A weight shared by several prunable modules is one target with several names.

    Raises:
        RecipeError: A filter matches nothing, no weight is left, or a weight can't be pruned;
            the message lists all reasons.
    """
    what = f"can't prune {type(model).__name__}"
    places = list(_places(model, recipe.linear))
    if not places:
        hint = "" if recipe.linear else "; set linear=True to prune nn.Linear too"
        refuse(
            what,
            [
                "it holds no nn.RNN, nn.LSTM, nn.GRU or their cells, and no module with"
                f" prunable_weights(){hint}"
            ],
        )

    names = [f"{prefix}.{name}" if prefix else name for prefix, _, name, _ in places]
    filters = {
        "include": recipe.include,
        "exclude": recipe.exclude,
        "densities": tuple(recipe.densities),
        "patterns": tuple(recipe.patterns),
        "sensitivities": tuple(recipe.sensitivities),
    }
    reasons = _idle_filters(filters, names)
    chosen: dict[int, tuple[nn.Parameter, int, list[str]]] = {}
    for (_, module, attribute, gates), name in zip(places, names, strict=True):
        included = any(fnmatchcase(name, glob) for glob in recipe.include)
        if not included or any(fnmatchcase(name, glob) for glob in recipe.exclude):
            continue
        parameter = module._parameters.get(attribute)
        if parameter is None:
            reasons.append(_why_no_parameter(module, attribute, name))
        elif id(parameter) in chosen:
            chosen[id(parameter)][2].append(name)
        elif reason := _why_not(parameter, gates):
            reasons.append(f"{name} {reason}")
        else:
            chosen[id(parameter)] = (parameter, gates, [name])
    if not chosen and not reasons:
        reasons.append(
            f"include={list(recipe.include)} and exclude={list(recipe.exclude)} leave none of its"
            f" weights: {', '.join(names)}"
        )
    reasons += _shared_outside(model, chosen)
    targets = tuple(_target(recipe, *found) for found in chosen.values())
    for target in targets:
        reasons += [f"{target.name}: {reason}" for reason in _problems(target, recipe.scope)]
    reasons += _problems_together(targets, recipe)
    refuse(what, reasons)
    return targets


def _target(recipe: Recipe, parameter: nn.Parameter, gates: int, names: list[str]) -> Target:
    return Target(
        names=tuple(names),
        parameter=parameter,
        gates=gates,
        pieces=gates if recipe.scope == "gate" else 1,
        pattern=_first_match(recipe.patterns, names, recipe.pattern),
        density=_first_match(recipe.densities, names, recipe.density),
        keep_diagonal=recipe.keep_diagonal and _is_square_recurrent(parameter, gates, names[0]),
        sensitivity=_first_match(recipe.sensitivities, names, None),
    )


def _problems(target: Target, scope: str) -> Iterator[str]:
    """Why a weight can't be pruned so, whatever the others are."""
    pattern, density, gates = target.pattern, target.density, target.gates
    try:
        pattern.validate(target.parameter.shape)
    except ArgumentError as error:
        yield str(error)
    if density > pattern.max_density:
        yield f"{pattern} has a density of {pattern.max_density:g} or less, not {density:g}"
    has_own_budget = scope in ("matrix", "gate") and not target.keep_diagonal
    if has_own_budget and (reason := _why_empty(target)):
        yield reason
    if target.sensitivity is not None and len(target.sensitivity) not in (1, gates):
        yield (
            f"sensitivities must be one factor, or one for each of its {gates} gates, not"
            f" {len(target.sensitivity)}"
        )


def _problems_together(targets: Sequence[Target], recipe: Recipe) -> Iterator[str]:
    """Why weights can't be pruned so, one beside the other."""
    if recipe.keep_diagonal and targets and not any(t.keep_diagonal for t in targets):
        yield (
            "keep_diagonal keeps the diagonals of square gate matrices, and none of the pruned"
            f" weights has them: {', '.join(target.name for target in targets)}"
        )
    yield from _too_few_for_diagonals(targets, recipe.scope)
    devices = {str(target.parameter.device) for target in targets}
    if recipe.scope == "global" and len(devices) > 1:
        yield (
            "scope='global' shares one budget over weights on one device, not on"
            f" {', '.join(sorted(devices))}; use scope='matrix'"
        )


def find_rounded(model: nn.Module, recipe: Recipe) -> tuple[RoundedWeight, ...]:
    """Finds the weights that training for ``recipe.precision`` rounds: all that a product takes.

    Those are the matrices of recurrent and linear layers, pruned or not, but for
    ``recipe.keep_fp32``: what `pack` stores in that precision.

    Raises:
        RecipeError: A weight can't be rounded, or a filter matches nothing; with all reasons.
    """
    precision = precision_of(recipe.precision)
    if precision is FP32:
        return ()
    places = list(_places(model, linear=True))
    names = [f"{prefix}.{name}" if prefix else name for prefix, _, name, _ in places]
    reasons = _idle_filters({"keep_fp32": recipe.keep_fp32}, names)
    # Of a weight with several names, any one decides.
    kept = {
        id(module._parameters.get(attribute))
        for (_, module, attribute, _), name in zip(places, names, strict=True)
        if any(fnmatchcase(name, glob) for glob in recipe.keep_fp32)
    }
    aliases: dict[nn.Parameter, list[str]] = {}
    for (_, module, attribute, _), name in zip(places, names, strict=True):
        parameter = module._parameters.get(attribute)
        if id(parameter) in kept:
            continue
        if parameter is None:
            reasons.append(f"{_why_no_parameter(module, attribute, name)}, by keep_fp32")
        elif reason := _why_not_rounded(parameter, precision):
            reasons.append(f"{name} {reason}")
        else:
            aliases.setdefault(parameter, []).append(name)
    refuse(f"can't train {type(model).__name__} for {precision.name}", reasons)
    return tuple(
        RoundedWeight(
            tuple(known),
            parameter,
            tuple(
                (weakref.ref(module), attribute)
                for module in model.modules()
                for attribute, value in module._parameters.items()
                if value is parameter
            ),
        )
        for parameter, known in aliases.items()
    )


def _why_not_rounded(parameter: nn.Parameter, precision: Precision) -> str | None:
    if reason := _why_no_values(parameter):
        return reason
    if parameter.dtype not in ROUNDING_DTYPES:
        return f"must be float32, not {parameter.dtype}; use torch.autocast, or keep_fp32"
    if parameter.ndim != 2:
        return f"must be a matrix, not of shape {tuple(parameter.shape)}; name it in keep_fp32"
    if problem := precision.column_problem(parameter.shape[1]):
        return f"{problem}; name it in keep_fp32"
    return None


def _why_empty(target: Target) -> str | None:
    """Why not one weight would be left, of a weight that has a budget of its own."""
    pattern, density, parameter = target.pattern, target.density, target.parameter
    if not isinstance(pattern, MaskPattern) or parameter.ndim != 2:
        return None
    shape = (parameter.shape[0] // target.pieces, parameter.shape[1])
    numel = shape[0] * shape[1]
    if numel == 0 or budget(numel, density) >= pattern.unit(shape):
        return None
    try:
        if bool(pattern.mask(parameter.new_ones(shape), density).any()):
            return None
    except ArgumentError:
        return None  # which is told elsewhere
    return (
        f"a density of {density:g} would leave nothing: {pattern} finds no place for as few as"
        f" {budget(numel, density)} of {numel} weights; keep more, or take a finer pattern"
    )


def _too_few_for_diagonals(targets: Sequence[Target], scope: str) -> list[str]:
    """Why kept diagonals are more than a budget allows."""
    if not targets:
        return []
    kept = [t.parameter.shape[0] if t.keep_diagonal else 0 for t in targets]
    sizes = [t.parameter.numel() for t in targets]
    if scope == "global":
        shares = [(", ".join(t.name for t in targets), sum(kept), sum(sizes), targets[0].density)]
    else:
        shares = [
            (t.name, rows // t.pieces, size // t.pieces, t.density)
            for t, rows, size in zip(targets, kept, sizes, strict=True)
        ]
    return [
        f"{name}: the kept diagonal has {rows} weights, more than the {budget(size, density)} that"
        f" a density of {density:.4g} allows; raise the density, or leave keep_diagonal out"
        for name, rows, size, density in shares
        if rows > budget(size, density)
    ]


def _why_no_values(parameter: nn.Parameter) -> str | None:
    if isinstance(parameter, UninitializedParameter):
        return "is not initialized yet; run one forward pass before pruning"
    if parameter.is_meta:
        return "is on the meta device; materialize the model before pruning"
    return None


def _places(model: nn.Module, linear: bool) -> Iterator[tuple[str, nn.Module, str, int]]:
    """Yields (module name, module, parameter name, gates) for every prunable weight."""
    for prefix, module in model.named_modules():
        for name, gates in _prunable_weights(module, linear):
            yield prefix, module, name, gates


def _prunable_weights(module: nn.Module, linear: bool) -> list[tuple[str, int]]:
    own = getattr(module, "prunable_weights", None)
    if callable(own):
        return list(own())
    if isinstance(module, nn.RNNBase):
        gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
        names = [name for layer in module._all_weights for name in layer]
        # weight_hr projects the hidden state; it is no gate.
        return [
            (name, 1 if name.startswith("weight_hr") else gates)
            for name in names
            if name.startswith("weight")
        ]
    for kind, gates in ((nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)):
        if isinstance(module, kind):
            return [("weight_ih", gates), ("weight_hh", gates)]
    return [("weight", 1)] if linear and isinstance(module, nn.Linear) else []


def _why_no_parameter(module: nn.Module, attribute: str, name: str) -> str:
    if hasattr(module, attribute):
        return (
            f"{name} is computed from other parameters (parametrize, weight_norm or spectral_norm);"
            " remove the parametrization before pruning, or exclude the weight"
        )
    return f"{name} is named by prunable_weights() of {type(module).__name__}, but does not exist"


def _why_not(parameter: nn.Parameter, gates: int) -> str | None:
    if reason := _why_no_values(parameter):
        return reason
    if not parameter.is_floating_point():
        return f"must be of a floating-point dtype, not {parameter.dtype}"
    if not parameter.requires_grad:
        return "is frozen (requires_grad is False); unfreeze it, or exclude it"
    if parameter.ndim == 2 and (gates < 1 or parameter.shape[0] % gates):
        return f"has {parameter.shape[0]} rows, which {gates} gates can't share"
    return None


def _idle_filters(fields: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    return [
        f"{field}: {glob!r} matches none of its weights: {', '.join(names)}"
        for field, globs in fields.items()
        for glob in globs
        if not any(fnmatchcase(name, glob) for name in names)
    ]


def _shared_outside(
    model: nn.Module,
    chosen: Mapping[int, tuple[nn.Parameter, int, list[str]]],
) -> list[str]:
    """Finds targets that some module which is not prunable (or was excluded) uses as well."""
    reasons = []
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if id(parameter) in chosen and name not in (aliases := chosen[id(parameter)][2]):
            # The same module reached by two paths is listed once by named_modules().
            if _same_place(model, name, aliases):
                continue
            reasons.append(
                f"{aliases[0]} is the same tensor as {name}, which this recipe does not prune;"
                f" exclude {aliases[0]}, or untie them"
            )
    return reasons


def _same_place(model: nn.Module, name: str, aliases: Sequence[str]) -> bool:
    def owner(qualified: str) -> tuple[int, str]:
        prefix, _, attribute = qualified.rpartition(".")
        return id(model.get_submodule(prefix)), attribute

    return owner(name) in {owner(alias) for alias in aliases}


def _is_square_recurrent(parameter: nn.Parameter, gates: int, name: str) -> bool:
    """Whether a weight stacks square matrices from a state to itself, as torch.nn names them."""
    recurrent = name.rpartition(".")[2].startswith("weight_hh")
    return recurrent and parameter.shape[0] == gates * parameter.shape[1]


def _first_match(table: Mapping[str, T], names: Sequence[str], default: T) -> T:
    for glob, value in table.items():
        if any(fnmatchcase(name, glob) for name in names):
            return value
    return default
