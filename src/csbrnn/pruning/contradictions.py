"""What makes a recipe impossible: values out of range, and settings that exclude each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from csbrnn.checks import is_integer, is_number
from csbrnn.numerics import PRECISIONS
from csbrnn.patterns import CSB, MaskPattern, Pattern, RowColumn
from csbrnn.pruning.distill import Distillation
from csbrnn.pruning.method import Method

__all__ = ["SCOPES", "contradictions"]

SCOPES: Final = ("matrix", "gate", "global", "units")

#: The patterns that drop whole rows and columns of a matrix.
_WHOLE_LINES: Final[tuple[Pattern, ...]] = (RowColumn(), CSB((None, None)))


def contradictions(fields: Mapping[str, Any]) -> list[str]:
    """Returns every reason why a recipe of these fields can't work."""
    reasons = []
    method, scope = fields["method"], fields["scope"]
    if not isinstance(method, Method):
        reasons.append(f"method must be a Method such as ADMM(...) or Gradual(...), not {method!r}")
    if scope not in SCOPES:
        reasons.append(f"scope must be one of {', '.join(SCOPES)}, not {scope!r}")
    reasons += [
        f"{name} must be True or False, not {fields[name]!r}"
        for name in ("linear", "keep_diagonal")
        if not isinstance(fields[name], bool)
    ]
    for glob, density in fields["densities"].items():
        if not is_number(density) or not 0 < density <= 1:
            reasons.append(f"densities[{glob!r}] must lie in (0, 1], not {density!r}")
    if not isinstance(fields["distill"], (Distillation, type(None))):
        reasons.append(f"distill must be a Distillation or None, not {fields['distill']!r}")
    if scope in ("global", "units"):
        reasons += [
            f"scope={scope!r} shares one budget, so {name} can't differ between weights;"
            f" leave {name} out, or use scope='matrix'"
            for name in ("densities", "patterns")
            if fields[name]
        ]
    patterns = (fields["pattern"], *fields["patterns"].values())
    known = list(dict.fromkeys(p for p in patterns if isinstance(p, Pattern)))
    if isinstance(method, Method):
        reasons += method.refusals(known, str(scope))
    reasons += _pair_reasons(fields, known)
    return reasons + _precision_reasons(fields, known)


def _pair_reasons(fields: Mapping[str, Any], patterns: Sequence[Pattern]) -> list[str]:
    """Finds options that don't go together with a pattern or with each other."""
    scope, density, keep_diagonal = fields["scope"], fields["density"], fields["keep_diagonal"]
    reasons = []
    if keep_diagonal:
        reasons += [
            f"keep_diagonal keeps weights beside a mask, and {pattern} is none; leave it out"
            for pattern in patterns
            if not isinstance(pattern, MaskPattern)
        ]
    if scope == "units":
        reasons += [
            f"scope='units' drops whole rows and columns, and {pattern} does not ask for that;"
            " take pattern='row_column'"
            for pattern in patterns
            if pattern not in _WHOLE_LINES
        ]
        if keep_diagonal:
            reasons.append("scope='units' drops units whole, so keep_diagonal can't keep a weight")
    if fields["sensitivities"]:
        if scope != "global":
            reasons.append(
                "sensitivities divide one budget between weights, and scope"
                f" {scope!r} shares none; use scope='global'"
            )
        reasons += [
            f"sensitivities decide which weights a mask keeps, and {pattern} is none"
            for pattern in patterns
            if not isinstance(pattern, MaskPattern)
        ]
    first = fields["pattern"]
    if isinstance(first, Pattern) and is_number(density) and density > first.max_density:
        reasons.append(
            f"{first} has a density of {first.max_density:g} or less, and {density:g} is more;"
            f" give density={first.max_density:g}"
        )
    return reasons


def _precision_reasons(fields: Mapping[str, Any], patterns: Sequence[Pattern]) -> list[str]:
    precision, begin = fields["precision"], fields["quantize_from"]
    if not isinstance(precision, str) or precision not in PRECISIONS:
        return [f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}"]
    reasons = []
    if precision == "fp32":
        reasons += [
            f"{name} says how weights are rounded, and precision='fp32' rounds none; leave it out,"
            " or set another precision"
            for name, given in (
                ("quantize_from", begin is not None),
                ("keep_fp32", bool(fields["keep_fp32"])),
            )
            if given
        ]
    elif begin is not None and not is_integer(begin, 0):
        reasons.append(
            f"quantize_from must be a whole number of steps, at least 0, or None, not {begin!r}"
        )
    if PRECISIONS[precision].rounds_operand:
        reasons += [
            f"{precision} rounds each row by a scale of its own, which moves weights off"
            f" {pattern}: it is no mask; take bf16 or fp32"
            for pattern in patterns
            if not isinstance(pattern, MaskPattern)
        ]
    return reasons
