"""Gives hidden units to groups so that every group has as much to do.

Vectors that element-wise operations combine form a *space*: the same unit of each lies in one
group and slot. Where a unit lies costs nothing, so balance is a matter of choice: *chunks* of
neighbouring units go to the least loaded group that has room, largest first (longest processing
time), then pairs of chunks change places while that helps. Heuristic; what it reaches is
reported.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.kernels import Kernel
from csbrnn.accelerator.step import FixedStep, Product
from csbrnn.compiler import Slice
from csbrnn.numerics import Ints

__all__ = ["Space", "find_spaces", "map_units", "sum_parts"]

_MOST_SLOTS: Final = 1.25
"""Slots of a group, at most, over its share of the units: empty ones cost memory. Ours."""

_CLOSELY: Final = 3
"""Chunk sizes that are looked at closely. Ours."""

_PLAIN_CHUNK: Final = 4
"""Units that stay together without balancing: a row group is not torn apart."""


@dataclass(eq=False)
class Space:
    """Vectors whose units are placed together.

    Attributes:
        length: Units.
        members: ("v", vector) and ("s", slice of a sum) of what belongs to it.
        group: Of each unit. Shape: (length,)
        slot: Of each unit, within its group. Shape: (length,)
        slots: Of the fullest group.
    """

    length: int
    members: frozenset[tuple[str, Slice]]
    group: Ints
    slot: Ints
    slots: int = 0


def sum_parts(step: FixedStep) -> dict[str, list[Slice]]:
    """The slices at which each sum is drained, by its name, in order."""
    parts: dict[str, set[Slice]] = {name: set() for name in step.sum_sizes}
    for o in step.operations:
        if o.sum is not None:
            parts[o.sum.vector].add(o.sum)
    return {name: sorted(found, key=lambda p: p.start) for name, found in parts.items()}


def find_spaces(step: FixedStep) -> list[Space]:
    """Vectors that meet in an operation share a space. Units are not placed yet."""
    root: dict[object, object] = {}

    def find(key: object) -> object:
        while root.setdefault(key, key) != key:
            key = root[key]
        return key

    for o in step.operations:
        keys: list[object] = [*(("v", s) for s in (o.d, *o.reads))]
        if o.sum is not None:
            keys.append(("s", o.sum))
        for key in keys[1:]:
            root[find(key)] = find(keys[0])
    members: dict[object, list[tuple[str, Slice]]] = {}
    for key in list(root):
        members.setdefault(find(key), []).append(key)  # type: ignore[arg-type]
    spaces = []
    for found in members.values():
        length = found[0][1].length
        empty = np.zeros(length, np.int64)
        spaces.append(Space(length, frozenset(found), empty, empty))
    return spaces


def space_of(spaces: Sequence[Space], kind: str, part: Slice) -> Space | None:
    """The space of a vector (``"v"``) or of a slice of a sum (``"s"``)."""
    for space in spaces:
        if (kind, part) in space.members:
            return space
    return None


def map_units(
    arch: Arch,
    step: FixedStep,
    spaces: Sequence[Space],
    kernels: Mapping[Product, Sequence[Kernel]],
    *,
    balance: bool = True,
) -> None:
    """Fill in where the units of each space lie.

    Args:
        arch: For groups and lanes.
        step: The step.
        spaces: As `find_spaces` gives them; changed.
        kernels: Of each product.
        balance: False deals units out in order: what balancing is compared with.
    """
    parts = sum_parts(step)
    products = [p for stage in step.stages for p in stage.products]
    work: list[tuple[Space, list[tuple[Ints, Ints, Ints]]]] = []
    for space in spaces:
        rows = []
        for product in products:
            for part in parts[product.sum]:
                if ("s", part) in space.members:
                    rows.append(_kernel_rows(kernels[product], part))
        work.append((space, rows))
    work.sort(key=lambda w: -sum(int(n.sum()) for _, _, n in w[1]))
    totals = np.zeros(arch.groups, np.int64)
    for space, rows in work:
        choices = [_plain(space.length, arch.groups)]
        if balance:
            choices = _choices(arch, space.length, rows, totals) + choices
        words = [_group_words(rows, choice, arch) for choice in choices]
        slots = [int(np.bincount(choice, minlength=arch.groups).max()) for choice in choices]
        order = [(int((totals + w).max()), s) for w, s in zip(words, slots, strict=True)]
        best = order.index(min(order))
        totals = totals + words[best]
        _settle(space, choices[best], arch.groups)


def _plain(length: int, groups: int) -> Ints:
    """Units dealt out in order."""
    chunk = min(_PLAIN_CHUNK, _chunk_heights(length, groups)[0])
    room = math.ceil(math.ceil(length / chunk) / groups)
    return np.arange(length) // (room * chunk)


def _choices(
    arch: Arch, length: int, rows: Sequence[tuple[Ints, Ints, Ints]], totals: Ints
) -> list[Ints]:
    """The most promising owners of each unit: those of the best chunk sizes."""
    found: list[tuple[int, int, Ints]] = []
    unit = np.arange(length)
    for chunk in _chunk_heights(length, arch.groups):
        loads = _chunk_loads(rows, length, chunk, arch.lanes)
        owner = _place(loads, totals, math.ceil(len(loads) / arch.groups))
        after = totals + np.bincount(owner, loads, arch.groups).astype(np.int64)
        found.append((int(after.max()), chunk, owner[unit // chunk]))
    found.sort(key=lambda f: f[:2])
    return [group for *_, group in found[:_CLOSELY]]


def _group_words(rows: Sequence[tuple[Ints, Ints, Ints]], group: Ints, arch: Arch) -> Ints:
    """Words of each group, were rows only combined within kernels."""
    words = np.zeros(arch.groups, np.int64)
    for number, unit, cols in rows:
        if not len(number):
            continue
        key = number * arch.groups + group[unit]
        found, first, kept = np.unique(key, return_index=True, return_counts=True)
        strips = -(-kept // arch.lanes) * cols[first]
        words += np.bincount(found % arch.groups, strips, arch.groups).astype(np.int64)
    return words


def _kernel_rows(kernels: Sequence[Kernel], part: Slice) -> tuple[Ints, Ints, Ints]:
    """(kernel, unit, columns of the kernel) of each kept row that belongs to a slice of a sum."""
    if not kernels:
        empty = np.zeros(0, np.int64)
        return empty, empty, empty
    counts = np.array([len(k.rows) for k in kernels])
    rows = np.concatenate([k.rows for k in kernels])
    number = np.repeat(np.arange(len(kernels)), counts)
    cols = np.repeat(np.array([len(k.cols) for k in kernels]), counts)
    inside = (rows >= part.start) & (rows < part.start + part.length)
    return number[inside], rows[inside] - part.start, cols[inside]


def _chunk_heights(length: int, groups: int) -> list[int]:
    """Chunk sizes to try: powers of two that leave few slots of a group without a unit."""
    share = max(-(-length // groups), 1)
    heights = [2**k for k in range(share.bit_length()) if 2**k <= share]
    full = [math.ceil(math.ceil(length / chunk) / groups) * chunk for chunk in heights]
    fitting = zip(heights, full, strict=True)
    return [chunk for chunk, slots in fitting if slots <= _MOST_SLOTS * share][::-1]


def _chunk_loads(
    rows: Sequence[tuple[Ints, Ints, Ints]], length: int, chunk: int, lanes: int
) -> Ints:
    """Words of each chunk, were rows only combined within kernels and chunks."""
    count = -(-length // chunk)
    loads = np.zeros(count, np.int64)
    for number, unit, cols in rows:
        if not len(number):
            continue
        key = number * count + unit // chunk
        found, first, kept = np.unique(key, return_index=True, return_counts=True)
        words = -(-kept // lanes) * cols[first]
        loads += np.bincount(found % count, words, count).astype(np.int64)
    return loads


def _place(loads: Ints, base: Ints, room: int) -> Ints:
    """Owner of each chunk: at most ``room`` chunks a group."""
    groups = len(base)
    total, used = base.copy(), np.zeros(groups, np.int64)
    owner = np.zeros(len(loads), np.int64)
    # The heaviest chunks first, so that light ones are left to even out the loads.
    for chunk in np.argsort(-loads, kind="stable"):
        free = np.flatnonzero(used < room)
        group = free[np.argmin(total[free])]
        owner[chunk] = group
        total[group] += loads[chunk]
        used[group] += 1
    return _swap(loads, owner, total)


def _swap(loads: Ints, owner: Ints, total: Ints) -> Ints:
    """Swaps chunks of the fullest group with others while its load shrinks below the maximum."""
    total = total.copy()
    for _ in range(20 * len(total)):
        high = int(np.argmax(total))
        mine = np.flatnonzero(owner == high)
        others = np.flatnonzero(owner != high)
        if not len(mine) or not len(others):
            break
        gain = loads[mine][:, None] - loads[others][None, :]
        result = np.maximum(total[high] - gain, total[owner[others]][None, :] + gain)
        at = np.unravel_index(int(np.argmin(result)), result.shape)
        if result[at] >= total[high]:
            break
        a, b = mine[at[0]], others[at[1]]
        moved = loads[a] - loads[b]
        total[high] -= moved
        total[owner[b]] += moved
        owner[a], owner[b] = owner[b], owner[a]
    return owner


def _settle(space: Space, group: Ints, groups: int) -> None:
    space.group = group
    space.slot = np.zeros(space.length, np.int64)
    for number in range(groups):
        mine = np.flatnonzero(group == number)
        space.slot[mine] = np.arange(len(mine))
    space.slots = int(np.bincount(group, minlength=groups).max())
