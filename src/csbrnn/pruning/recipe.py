"""Recipes: what to prune, to what, and how. Plain data, refused when built if it can't work."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, final

from csbrnn.checks import is_finite, is_number, is_positive, plain_number
from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.numerics import Precision
from csbrnn.patterns import Pattern, parse_pattern, pattern_from_dict
from csbrnn.pruning.admm import ADMM
from csbrnn.pruning.contradictions import contradictions
from csbrnn.pruning.distill import Distillation
from csbrnn.pruning.gradual import Gradual
from csbrnn.pruning.group_lasso import GroupLasso
from csbrnn.pruning.method import Method
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.threshold import ThresholdPruning

__all__ = ["METHODS", "Recipe"]

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (Gradual, ADMM, GroupLasso, ThresholdPruning)
}
"""Every method by its name. One-shot pruning is "gradual" with begin == end."""

T = TypeVar("T")


@final
@dataclasses.dataclass(frozen=True, init=False)
class Recipe:
    """How to prune a model: a pattern, a density, a method, and which weights.

    Names of weights are qualified as in ``model.named_parameters()`` ("encoder.weight_hh_l0");
    filters are globs over them (``*``, ``?``, ``[...]``, case-sensitive). Where several globs of
    ``densities`` or ``patterns`` match a weight, the first counts.

    Args:
        pattern: Which weights may survive: a pattern, or its text form.
        density: Share of each matrix's weights to keep, in (0, 1].
        method: How training gets there.
        pruning_rate: The inverse of the density ("8x" is 8), given instead of it.
        scope: What shares a budget: each "matrix"; each "gate" of it (its rows of the matrix are
            projected apart); or "global", one budget for all weights. With "units", whole
            hidden units go, everywhere they appear, and `csbrnn.shrink` takes them out; the pattern
            must be row_column.
        include: Weights to prune must match one of these.
        exclude: And none of these.
        linear: Whether to prune nn.Linear too, and not only recurrent layers.
        densities: Other densities for some weights.
        patterns: Other patterns for some weights.
        distill: Whether and how the dense network teaches the pruned one.
        precision: What weights will be stored in: "fp32", "bf16", "int8", or for the accelerator
            "fixed16" or "fixed12". Towards the end of training, forward passes see the matrices of
            all recurrent and linear layers rounded to it, in training and in evaluation mode, while
            the optimizer goes on with the parameters themselves; ``finalize`` rounds those. (The
            operands of int8 products are not rounded in training.)
        keep_diagonal: Whether the diagonals of square gate matrices (``weight_hh``) always stay,
            beside the pattern, as part of the same density.
        sensitivities: What a unit of energy (a squared weight) is worth under scope "global": for
            some weights one factor, or one for each gate; see `csbrnn.pruning.fisher_sensitivity`.
        quantize_from: Optimizer step from which forward passes round; by default the one at which
            the support is final and masked retraining begins.
        keep_fp32: Weights that are not rounded; by their names in the module, as all filters here
            (`csbrnn.pack` has a setting of that name for those of the packed model).

    Raises:
        RecipeError: The recipe can't work; the message lists all reasons.
    """

    pattern: Pattern
    density: float
    method: Method
    scope: Literal["matrix", "gate", "global", "units"]
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    linear: bool
    densities: Mapping[str, float] = dataclasses.field(hash=False)
    patterns: Mapping[str, Pattern] = dataclasses.field(hash=False)
    distill: Distillation | None
    precision: str
    quantize_from: int | None
    keep_fp32: tuple[str, ...]
    keep_diagonal: bool
    sensitivities: Mapping[str, tuple[float, ...]] = dataclasses.field(hash=False)

    def __init__(
        self,
        pattern: Pattern | str,
        density: float | None = None,
        method: Method | None = None,
        *,
        pruning_rate: float | None = None,
        scope: Literal["matrix", "gate", "global", "units"] = "matrix",
        include: tuple[str, ...] = ("*",),
        exclude: tuple[str, ...] = (),
        linear: bool = False,
        densities: Mapping[str, float] | None = None,
        patterns: Mapping[str, Pattern | str] | None = None,
        distill: Distillation | None = None,
        precision: Precision | str = "fp32",
        quantize_from: int | None = None,
        keep_fp32: tuple[str, ...] = (),
        keep_diagonal: bool = False,
        sensitivities: Mapping[str, float | Sequence[float]] | None = None,
    ) -> None:
        reasons: list[str] = []
        fields: dict[str, Any] = {
            "pattern": _read_pattern("pattern", pattern, reasons),
            "density": _read_density(plain_number(density), plain_number(pruning_rate), reasons),
            "method": method,
            "scope": scope,
            "include": _read_globs("include", include, reasons),
            "exclude": _read_globs("exclude", exclude, reasons),
            "linear": linear,
            "densities": _read_table("densities", densities, reasons),
            "patterns": {
                glob: _read_pattern(f"patterns[{glob!r}]", value, reasons)
                for glob, value in _read_table("patterns", patterns, reasons).items()
            },
            "distill": distill,
            "precision": precision.name if isinstance(precision, Precision) else precision,
            "quantize_from": plain_number(quantize_from),
            "keep_fp32": _read_globs("keep_fp32", keep_fp32, reasons),
            "keep_diagonal": keep_diagonal,
            "sensitivities": {
                glob: _read_factors(f"sensitivities[{glob!r}]", value, reasons)
                for glob, value in _read_table("sensitivities", sensitivities, reasons).items()
            },
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        refuse("the recipe can't work", reasons + contradictions(fields))

    @property
    def rounds_from(self) -> int | None:
        """Optimizer steps after which forward passes see rounded weights; None for never."""
        if self.precision == "fp32":
            return None
        if self.quantize_from is not None:
            return self.quantize_from
        return self.method.retraining_from

    @property
    def pruning_rate(self) -> float:
        """The inverse of the density."""
        return 1 / self.density

    def to_dict(self) -> dict[str, Any]:
        """Returns the recipe as plain data that JSON and TOML can carry."""
        data: dict[str, Any] = {
            "pattern": str(self.pattern),
            "density": self.density,
            "method": self.method.to_dict(),
            "scope": self.scope,
            "include": list(self.include),
            "exclude": list(self.exclude),
            "linear": self.linear,
            "densities": dict(self.densities),
            "patterns": {glob: str(pattern) for glob, pattern in self.patterns.items()},
        }
        # TOML has no null: what is absent is left out.
        if self.distill is not None:
            data["distill"] = self.distill.to_dict()
        if self.precision != "fp32":
            data |= {"precision": self.precision, "keep_fp32": list(self.keep_fp32)}
        if self.quantize_from is not None:
            data["quantize_from"] = self.quantize_from
        # Checkpoints written before there were these options go on.
        if self.keep_diagonal:
            data["keep_diagonal"] = True
        if self.sensitivities:
            data["sensitivities"] = {g: list(factors) for g, factors in self.sensitivities.items()}
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Recipe:
        """Builds a recipe from plain data, as :meth:`to_dict` returns or a TOML file holds.

        Patterns may be text ("csb(block=16x64,row_group=16)") or tables with a name.

        Raises:
            RecipeError: A key is unknown or missing, or the recipe can't work.
        """
        fields = dict(data)
        known = list(inspect.signature(cls).parameters)
        reasons = [
            f"{key!r} is no field of a recipe; there are {', '.join(known)}"
            for key in fields
            if key not in known
        ]
        reasons += [f"{key!r} is missing" for key in ("pattern", "method") if key not in fields]
        refuse("the recipe can't be read", reasons)
        fields["method"] = _read_method(fields["method"])
        if fields.get("distill") is not None:
            fields["distill"] = _build("distill", Distillation, fields["distill"])
        return cls(**fields)


def _read_method(data: Any) -> Method:
    name = data.get("name") if isinstance(data, Mapping) else None
    if not isinstance(name, str) or name not in METHODS:
        raise RecipeError(
            f"method must be a table with a name, one of {', '.join(METHODS)}, not {data!r}"
        )
    settings = {key: value for key, value in data.items() if key != "name"}
    return _build(f"method {name!r}", METHODS[name], settings)


def _build(what: str, cls: type[T], settings: Any) -> T:
    if not isinstance(settings, Mapping):
        raise RecipeError(f"{what} must be a table of settings, not {settings!r}")
    try:
        inspect.signature(cls).bind(**settings)
    except TypeError as error:
        known = ", ".join(inspect.signature(cls).parameters)
        raise RecipeError(f"{what} has the settings {known}: {error}") from None
    return cls(**settings)


def _read_pattern(where: str, value: Any, reasons: list[str]) -> Any:
    try:
        if isinstance(value, str):
            return parse_pattern(value)
        if isinstance(value, Mapping):
            return pattern_from_dict(value)
    except ArgumentError as error:
        reasons.append(f"{where}: {error}")
        return value
    if not isinstance(value, Pattern):
        reasons.append(f"{where} must be a Pattern or its text form, not {value!r}")
    return value


def _read_density(density: Any, pruning_rate: Any, reasons: list[str]) -> Any:
    if (density is None) == (pruning_rate is None):
        given = "neither" if density is None else f"density={density}, pruning_rate={pruning_rate}"
        reasons.append(f"exactly one of density and pruning_rate must be given, not {given}")
        return 1.0
    if density is None:
        if not is_finite(pruning_rate, 1):
            reasons.append(f"pruning_rate (total / kept) must be at least 1, not {pruning_rate!r}")
            return 1.0
        return 1 / pruning_rate
    if not is_number(density) or not 0 < density <= 1:
        reasons.append(
            f"density (kept / total) must lie in (0, 1], not {density!r};"
            " for a rate of 8x give density=0.125 or pruning_rate=8"
        )
    return density


def _read_globs(where: str, value: Any, reasons: list[str]) -> tuple[str, ...]:
    if isinstance(value, (tuple, list)) and all(isinstance(glob, str) for glob in value):
        return tuple(value)
    reasons.append(f"{where} must be a tuple of globs such as ('encoder.*',), not {value!r}")
    return ()


def _read_table(where: str, value: Any, reasons: list[str]) -> dict[str, Any]:
    if value is None:
        return {}
    if isinstance(value, Mapping) and all(isinstance(glob, str) for glob in value):
        return {glob: plain_number(item) for glob, item in value.items()}
    reasons.append(f"{where} must be a dictionary from globs, not {value!r}")
    return {}


def _read_factors(where: str, value: Any, reasons: list[str]) -> tuple[float, ...]:
    factors = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    factors = tuple(map(plain_number, factors))
    if factors and all(is_positive(f) for f in factors):
        return tuple(float(f) for f in factors)
    reasons.append(f"{where} must be a positive number, or one for each gate, not {value!r}")
    return ()
