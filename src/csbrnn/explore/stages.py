"""What to try next, by E-RNN's observations: blocks first, then cells, then layer sizes.

Each stage asks for few trials, and drops what they show to be out of reach. Trials of a stage are
the mildest of their kind (the largest network, the lowest rate, the most exact precision): what
fails there fails everywhere, supposed that accuracy falls with rate and grows with size.

Reference: E-RNN (Li et al., HPCA 2019), section V. Stages over whole families of patterns, and the
mildest setting as the place of the test, are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, final

from csbrnn.explore.bisection import Bisection
from csbrnn.explore.outcome import COSTS, Bounds, Outcome
from csbrnn.explore.space import DENSE, Configuration, Space, coarseness, family
from csbrnn.numerics import PRECISIONS

__all__ = ["STAGES", "Plan", "Stage", "plan"]

Stage = Literal["reference", "block", "cell", "size", "free"]
STAGES: Final = ("reference", "block", "cell", "size", "free")
"""In order. In the last one, a sampler chooses among what is left."""


@final
@dataclass(frozen=True)
class Plan:
    """Where an exploration stands.

    Attributes:
        stage: The first stage that is not done.
        candidates: What that stage wants tried; several workers may take one each.
        left: Configurations that no stage has dropped.
        notes: What stages have dropped, and why.
    """

    stage: Stage
    candidates: tuple[Configuration, ...]
    left: tuple[Configuration, ...]
    notes: tuple[str, ...]


def plan(
    space: Space,
    reference: Configuration | None,
    bounds: Bounds,
    outcomes: Mapping[Configuration, Outcome],
) -> Plan:
    """Decides from what is known so far; the same for every worker that knows the same.

    Args:
        space: Where to look.
        reference: The dense network that the accuracy bound relates to; None if it relates to
            none.
        bounds: What networks must keep to.
        outcomes: Of all trials that have ended.
    """
    if reference is not None and reference not in outcomes:
        return Plan("reference", (reference,), space.configurations, ())
    return _Planner(bounds, reference, outcomes).plan(list(space.configurations))


@dataclass
class _Planner:
    bounds: Bounds
    reference: Configuration | None
    outcomes: Mapping[Configuration, Outcome]

    def plan(self, left: list[Configuration]) -> Plan:
        notes: list[str] = []
        wanted = self._blocks(left, notes)
        if wanted:
            return Plan("block", tuple(wanted), tuple(left), tuple(notes))
        pattern = self._best_pattern(left)
        if pattern is None:
            return Plan("free", (), tuple(left), tuple(notes))
        wanted = self._cells(left, pattern, notes)
        if wanted:
            return Plan("cell", tuple(wanted), tuple(left), tuple(notes))
        wanted = self._sizes(left, pattern, notes)
        stage: Stage = "size" if wanted else "free"
        return Plan(stage, tuple(wanted), tuple(left), tuple(notes))

    def _blocks(self, left: list[Configuration], notes: list[str]) -> list[Configuration]:
        """Bounds the block size of each family of patterns."""
        cell, wanted = left[0].cell, []
        patterns = dict.fromkeys(c.pattern for c in left if c.pattern != DENSE)
        families: dict[str, list[str]] = {}
        for pattern in patterns:
            families.setdefault(family(pattern), []).append(pattern)
        for members in families.values():
            members.sort(key=lambda pattern: (coarseness(pattern), pattern))
            mildest = {p: m for p in members if (m := _mildest(left, cell=cell, pattern=p))}
            known = {p: holds for p, m in mildest.items() if (holds := self._holds(m)) is not None}
            row = Bisection([p for p in members if p in mildest], known)
            if row.next is not None:
                wanted.append(mildest[row.next])
            if row.dropped:
                notes.append(
                    f"block: {row.dropped[0]} misses the accuracy bound at its mildest"
                    + ("" if len(row.dropped) == 1 else f"; so do {', '.join(row.dropped[1:])}")
                )
                left[:] = [c for c in left if c.pattern not in row.dropped]
        return wanted

    def _best_pattern(self, left: Sequence[Configuration]) -> str | None:
        """The pattern whose mildest network is the most accurate of those that hold."""
        held = {
            c.pattern: self.outcomes[c].metric
            for c in left
            if c.pattern != DENSE
            and self._holds(c)
            and c == _mildest(left, cell=left[0].cell, pattern=c.pattern)
        }
        if not held:
            return None
        best = min if self.bounds.lower_is_better else max
        return best(held, key=lambda pattern: held[pattern])

    def _cells(
        self, left: list[Configuration], pattern: str, notes: list[str]
    ) -> list[Configuration]:
        """Tries each cell once, and drops those that fail or that another one beats."""
        cells = dict.fromkeys(c.cell for c in left)
        mildest = {c: m for c in cells if (m := _mildest(left, cell=c, pattern=pattern))}
        wanted = [m for m in mildest.values() if self._holds(m) is None]
        if wanted:
            return wanted
        held = {cell: self.outcomes[m] for cell, m in mildest.items() if self._holds(m)}
        for cell in mildest:
            if cell not in held:
                reason = "misses the accuracy bound at its mildest"
            elif winner := next((o for o in held if self._beats(held[o], held[cell])), None):
                reason = f"is beaten by {winner} in accuracy and in every cost"
            else:
                continue
            notes.append(f"cell: {cell} {reason}")
            left[:] = [c for c in left if c.cell != cell]
        return []

    def _sizes(
        self, left: list[Configuration], pattern: str, notes: list[str]
    ) -> list[Configuration]:
        """Bounds the layer size from below."""
        if not left:
            return []
        cell = left[0].cell
        sizes = sorted({c.hidden_size for c in left}, reverse=True)
        mildest = {
            size: m
            for size in sizes
            if (m := _mildest(left, cell=cell, pattern=pattern, hidden_size=size))
        }
        known = {s: holds for s, m in mildest.items() if (holds := self._holds(m)) is not None}
        row = Bisection(list(mildest), known)
        if row.dropped:
            notes.append(
                "size: "
                + ", ".join(map(str, row.dropped))
                + " units miss the accuracy bound at their mildest"
            )
            left[:] = [c for c in left if c.hidden_size not in row.dropped]
        return [] if row.next is None else [mildest[row.next]]

    def _holds(self, configuration: Configuration) -> bool | None:
        """Whether the accuracy bound is met; None if that is not known."""
        outcome = self.outcomes.get(configuration)
        if outcome is None or outcome.ended == "cost":
            return None
        if outcome.ended:
            return False
        reference = None if self.reference is None else self.outcomes[self.reference].metric
        return self.bounds.accurate(outcome.metric, reference)

    def _beats(self, one: Outcome, other: Outcome) -> bool:
        """Whether an outcome is better in the metric and in every cost."""
        better = one.metric < other.metric
        if not self.bounds.lower_is_better:
            better = one.metric > other.metric
        return better and all(
            mine < theirs
            for name in COSTS
            if (mine := getattr(one.cost, name)) is not None
            and (theirs := getattr(other.cost, name)) is not None
        )


def _mildest(configurations: Sequence[Configuration], **fixed: object) -> Configuration | None:
    """The configuration with some values that is easiest to train well."""
    fitting = [c for c in configurations if all(getattr(c, k) == v for k, v in fixed.items())]
    return min(
        fitting,
        key=lambda c: (
            -c.hidden_size,
            -c.num_layers,
            c.pruning_rate,
            -PRECISIONS[c.precision].bits,
            c,
        ),
        default=None,
    )
