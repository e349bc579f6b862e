"""`Space`: the configurations among which an exploration chooses; `Configuration`, one of them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, Final, final

from csbrnn.checks import is_integer, is_number
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.numerics import PRECISIONS
from csbrnn.patterns import parse_pattern
from csbrnn.patterns.text import PATTERNS
from csbrnn.tasks.task import CELLS

__all__ = ["DENSE", "Configuration", "Space", "coarseness", "family"]

DENSE: Final = "dense"
"""In place of a pattern: nothing is pruned."""


@final
@dataclass(frozen=True, order=True)
class Configuration:
    """One network to train: what it computes, what it keeps, how it is stored.

    Attributes:
        cell: One of `csbrnn.tasks.task.CELLS`.
        hidden_size: Units of each recurrent layer.
        num_layers: Recurrent layers.
        pattern: Which weights may survive, in its text form, or `DENSE`.
        pruning_rate: Weights before / weights after; 1 where dense.
        precision: Number format of the weights.
    """

    cell: str
    hidden_size: int
    num_layers: int
    pattern: str
    pruning_rate: float
    precision: str

    @property
    def network(self) -> str:
        """The dense network that it starts from, as part of a directory's name."""
        return f"{self.cell}-{self.num_layers}x{self.hidden_size}"

    @property
    def key(self) -> str:
        """A name for its directory: readable, and its own."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.pattern.lower()).strip("-")
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:8]
        return f"{self.network}-{slug}-{self.pruning_rate:g}x-{self.precision}-{digest}"

    def __str__(self) -> str:
        rate = "" if self.pattern == DENSE else f" {self.pruning_rate:g}x"
        return (
            f"{self.cell} {self.num_layers} x {self.hidden_size}, {self.pattern}{rate},"
            f" {self.precision}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Its fields as plain data."""
        return asdict(self)


@final
@dataclass(frozen=True)
class Space:
    """All combinations of some values, but for those that can't work.

    Attributes:
        configurations: In a fixed order: that of the values given, the last field fastest.
        left_out: Combinations of pattern, rate and precision that can't work, each with its
            reason.
    """

    configurations: tuple[Configuration, ...]
    left_out: tuple[str, ...]

    @classmethod
    def read(
        cls,
        table: Mapping[str, Any],
        defaults: Mapping[str, Any],
        check: Callable[[Configuration], object],
    ) -> Space:
        """Reads the [space] table of a recipe file.

        Args:
            table: Lists of values. ``block`` and ``row_group`` are tried with each pattern that
                has such a field and doesn't give it: "csb" with two blocks is two patterns.
            defaults: Values of the fields that the table leaves out.
            check: Raises a `CsbrnnError` for what can't be trained.

        Raises:
            ArgumentError: A key or value is unknown, or no combination can work; with all reasons.
        """
        if not isinstance(table, Mapping):
            raise ArgumentError(f"[space] must be a table of lists, not {table!r}")
        reasons: list[str] = []
        known = (*(field.name for field in fields(Configuration)), "block", "row_group")
        reasons += [
            f"space: {key!r} is no dimension; there are {', '.join(known)}"
            for key in table
            if key not in known
        ]
        values = {key: _listed(key, table, defaults, reasons) for key in known}
        reasons += [
            f"space.{key}: must be one of {', '.join(allowed)}, not {value!r}"
            for key, allowed in (("cell", CELLS), ("precision", PRECISIONS))
            for value in values[key]
            if value not in list(allowed)
        ]
        reasons += [
            f"space.{key}: must be a whole number, at least 1, not {value!r}"
            for key in ("hidden_size", "num_layers")
            for value in values[key]
            if not is_integer(value, 1)
        ]
        reasons += [
            f"space.pruning_rate: must be a number, at least 1, not {value!r}"
            for value in values["pruning_rate"]
            if not is_number(value) or not 1 <= value < math.inf
        ]
        left_out: dict[str, None] = {}
        patterns = _patterns(values, left_out, reasons)
        if reasons:
            raise ArgumentError("\n".join(reasons))
        found = _combinations(values, patterns, check, left_out)
        problem = ""
        if not found:
            problem = "none of its combinations can work"
        elif patterns != [DENSE] and all(c.pattern == DENSE for c in found):
            problem = "no pattern can work, only dense"
        if problem:
            why = [f"  - {reason}" for reason in in_groups(left_out)]
            raise ArgumentError("\n".join([f"space: {problem}:", *why]))
        return cls(found, tuple(left_out))


def family(pattern: str) -> str:
    """What patterns share that differ in their block only."""
    return pattern if pattern == DENSE else re.sub(r"block=[^,)]*", "block", pattern)


def coarseness(pattern: str) -> float:
    """Weights of a block; within a family, coarser patterns keep less of what matters.

    0 for patterns without blocks.
    """
    block = None if pattern == DENSE else getattr(parse_pattern(pattern), "block", None)
    if block is None:
        return 0.0
    sides = block if isinstance(block, tuple) else (block, block)
    return math.prod(math.inf if side is None else side for side in sides)


def in_groups(left_out: Iterable[str]) -> list[str]:
    """Returns what is left out, each reason once: with its first combination, and how many more."""
    groups: dict[str, list[str]] = {}
    for line in left_out:
        combination, _, reason = line.partition(": ")
        groups.setdefault(reason, []).append(combination)
    return [
        f"{first}{f', and {len(rest)} more' if rest else ''}: {reason}"
        for reason, (first, *rest) in groups.items()
    ]


def _combinations(
    values: Mapping[str, list[Any]],
    patterns: list[str],
    check: Callable[[Configuration], object],
    left_out: dict[str, None],
) -> tuple[Configuration, ...]:
    found: dict[Configuration, None] = {}
    refused: dict[tuple[Any, ...], str] = {}
    names = ("cell", "hidden_size", "num_layers", "pattern", "pruning_rate", "precision")
    lists = [patterns if name == "pattern" else values[name] for name in names]
    for cell, hidden, layers, pattern, rate, precision in product(*lists):
        pruned = pattern != DENSE
        configuration = Configuration(
            cell, hidden, layers, pattern, float(rate) if pruned else 1.0, precision
        )
        # Whether a recipe works does not depend on the network's sizes.
        kind = (pattern, configuration.pruning_rate, precision)
        if kind not in refused:
            refused[kind] = ""
            try:
                check(configuration)
            except CsbrnnError as error:
                reason = " ".join(str(error).split())
                refused[kind] = f"{pattern} {configuration.pruning_rate:g}x {precision}: {reason}"
        if refused[kind]:
            left_out[refused[kind]] = None
        else:
            found[configuration] = None
    return tuple(found)


def _listed(
    key: str, table: Mapping[str, Any], defaults: Mapping[str, Any], reasons: list[str]
) -> list[Any]:
    value = table.get(key, defaults.get(key, []))
    if not isinstance(value, list | tuple) or (key in table and not value):
        reasons.append(f"space.{key}: must be a list of one or more, not {value!r}")
        return []
    return [element for k, element in enumerate(value) if element not in value[:k]]


def _patterns(
    values: Mapping[str, list[Any]], left_out: dict[str, None], reasons: list[str]
) -> list[str]:
    """All patterns, in canonical text, with the blocks and row groups that they don't give."""
    found: dict[str, None] = {}
    for text in values["pattern"]:
        if text == DENSE:
            found[DENSE] = None
            continue
        try:
            name = parse_pattern(text).name
        except (CsbrnnError, TypeError) as error:
            reasons.append(f"space.pattern: {error}")
            continue
        open_fields = [
            field.name
            for field in fields(PATTERNS[name])
            if field.name in ("block", "row_group")
            and values[field.name]
            and not re.search(rf"\b{field.name}\s*=", text)
        ]
        given = re.sub(r"^\s*\w+\s*\(?|\)?\s*$", "", text)
        for chosen in product(*(values[field] for field in open_fields)):
            pairs = [f"{key}={value}" for key, value in zip(open_fields, chosen, strict=True)]
            full = f"{name}({','.join(filter(None, [given, *pairs]))})"
            try:
                found[str(parse_pattern(full))] = None
            except CsbrnnError as error:
                left_out[f"{full}: {error}"] = None
    return list(found)
