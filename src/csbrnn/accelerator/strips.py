"""Cuts products into strips and deals them to streams.

A *strip* is up to Q rows of one group on common columns. Rows of a kernel that lie in one group
are taken Q at a time. What remains (a kernel whose rows don't divide by Q) is *folded*: strips
with rows to spare merge with others that share most columns. Long strips are cut. Strips then go
to the stream of their group that has least to do so far, longest first; what one segment leaves
uneven the next evens out, since streams run on.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import TIMING, Arch
from csbrnn.accelerator.kernels import Kernel
from csbrnn.accelerator.step import Product
from csbrnn.numerics import Ints

__all__ = [
    "StreamWords",
    "Strip",
    "cut_long",
    "cut_strips",
    "deal_strips",
    "fold",
]

_MAX_STRIP = 96
"""Words of a strip; longer ones are cut, so that dense matrices can be dealt evenly. Ours."""


class Strip(NamedTuple):
    """Up to Q rows of one group on common columns.

    Attributes:
        rows: y rows, one a lane that is used.
        x: Address of x of each word. Shape: (words,)
        weights: Shape: (words, len(rows))
    """

    rows: Ints
    x: Ints
    weights: NDArray[np.int32]


def cut_strips(
    arch: Arch,
    product: Product,
    kernels: Sequence[Kernel],
    groups: Ints,
    rows: Ints,
    x: Ints,
) -> tuple[list[list[Strip]], list[dict[int, list[Strip]]]]:
    """Return the full strips of each group, and by window those with rows to spare.

    Args:
        arch: For groups and lanes.
        product: The product.
        kernels: Its kernels.
        groups: Group of each row of its sum.
        rows: y row of each row of its sum.
        x: Address of each element of its source.
    """
    lanes = arch.lanes
    full: list[list[Strip]] = [[] for _ in range(arch.groups)]
    spare: list[dict[int, list[Strip]]] = [{} for _ in range(arch.groups)]
    weights, first = product.weights, product.first
    for kernel in kernels:
        order = kernel.rows
        owner = groups[order]
        if owner[0] != owner[-1] or (owner != owner[0]).any():
            by_group = np.argsort(owner, kind="stable")
            order, owner = order[by_group], owner[by_group]
        values = weights[order[:, None], kernel.cols].T  # (words, rows)
        addresses = x[first + kernel.cols]
        y = rows[order]
        cuts = [0, *(np.flatnonzero(np.diff(owner)) + 1), len(order)]
        for low, high in itertools.pairwise(cuts):
            group = owner[low]
            for at in range(low, high, lanes):
                stop = min(at + lanes, high)
                strip = Strip(y[at:stop], addresses, values[:, at:stop])
                if stop - at == lanes:
                    full[group].append(strip)
                else:
                    spare[group].setdefault(first + kernel.window, []).append(strip)
    return full, spare


def fold(arch: Arch, strips: list[Strip]) -> list[Strip]:
    """Merge strips with rows to spare where they share columns; greedy, most shared first."""
    strips = list(strips)
    while len(strips) > 1:
        used = sorted({int(a) for s in strips for a in s.x})
        column = {a: n for n, a in enumerate(used)}
        keeps = np.zeros((len(strips), len(used)), np.float32)
        for n, s in enumerate(strips):
            keeps[n, [column[int(a)] for a in s.x]] = 1
        shared = np.triu(keeps @ keeps.T, 1)
        width = np.array([s.weights.shape[1] for s in strips])
        shared[width[:, None] + width[None, :] > arch.lanes] = 0
        # Rows of one strip must be different: each lane adds to its own.
        a, b = np.nonzero(shared)
        order = np.argsort(-shared[a, b], kind="stable")
        taken = np.zeros(len(strips), np.bool_)
        merged: list[Strip] = []
        for one, other in zip(a[order], b[order], strict=True):
            if not (taken[one] or taken[other]):
                taken[one] = taken[other] = True
                merged.append(_merge(strips[one], strips[other]))
        if not merged:
            break
        strips = [s for n, s in enumerate(strips) if not taken[n]] + merged
    return strips


def _merge(a: Strip, b: Strip) -> Strip:
    x = np.union1d(a.x, b.x)
    left = a.weights.shape[1]
    weights = np.zeros((len(x), left + b.weights.shape[1]), np.int32)
    weights[np.searchsorted(x, a.x), :left] = a.weights
    weights[np.searchsorted(x, b.x), left:] = b.weights
    return Strip(np.concatenate([a.rows, b.rows]), x, weights)


def cut_long(strips: Sequence[Strip]) -> list[Strip]:
    """Cut strips of more than `_MAX_STRIP` words into even pieces."""
    short: list[Strip] = []
    for s in strips:
        pieces = -(-len(s.x) // _MAX_STRIP)
        if pieces == 1:
            short.append(s)
            continue
        bounds = np.linspace(0, len(s.x), pieces + 1).astype(int)
        short += [
            Strip(s.rows, s.x[low:high], s.weights[low:high])
            for low, high in itertools.pairwise(bounds)
        ]
    return short


class StreamWords(NamedTuple):
    """What a stream's memories hold.

    Attributes:
        weights: (words, lanes).
        x: (words,).
        last: (words,) bool.
        end: (words,) bool.
        strips: (strips, lanes) y rows.
        segment_words: Words of each segment.
    """

    weights: Ints
    x: Ints
    last: NDArray[np.bool_]
    end: NDArray[np.bool_]
    strips: Ints
    segment_words: Ints


def deal_strips(arch: Arch, segments: Sequence[Sequence[Strip]]) -> list[StreamWords]:
    """Deal one group's strips, segment by segment, to its streams.

    Args:
        arch: For streams, lanes and the dump row.
        segments: The strips of each segment.
    """
    loads = [(0, p) for p in range(arch.streams)]
    dealt: list[list[list[Strip]]] = [[] for _ in range(arch.streams)]
    for strips in segments:
        for mine in dealt:
            mine.append([])
        heapq.heapify(loads)
        for strip in sorted(strips, key=lambda s: -len(s.x)):
            load, p = loads[0]
            dealt[p][-1].append(strip)
            heapq.heapreplace(loads, (load + len(strip.x), p))
        # An empty segment still takes one word.
        loads = [(load + (not dealt[p][-1]), p) for load, p in loads]
    return [_Stream(arch).run(mine) for mine in dealt]


class _Stream:
    """Orders one stream's strips so that updates of a row are far apart, and lays them out."""

    def __init__(self, arch: Arch) -> None:
        self._arch = arch
        self._recent: list[tuple[int, tuple[int, ...]]] = []  # (end, rows) of the last strips
        self._at = 0
        self._strips: list[Strip] = []
        self._lengths: list[int] = []  # padding included
        self._ends: list[bool] = []

    def run(self, segments: Sequence[Sequence[Strip]]) -> StreamWords:
        for strips in segments:
            self._segment(list(strips))
        self._close()
        return self._words()

    def _segment(self, strips: list[Strip]) -> None:
        if not strips:
            nothing = Strip(
                np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 0), np.int32)
            )
            self._add(nothing, 1)
        # Short strips come between long ones, which give them time.
        while strips:
            chosen, pad = 0, self._padding(strips[0])
            if pad:
                for n, s in enumerate(strips[1:33], start=1):
                    if not self._padding(s):
                        chosen, pad = n, 0
                        break
            strip = strips.pop(chosen)
            self._add(strip, len(strip.x) + pad)
        self._ends[-1] = True

    def _add(self, strip: Strip, length: int) -> None:
        self._at += length
        rows = tuple(strip.rows.tolist())
        self._recent = [r for r in self._recent if r[0] > self._at - TIMING.rmw]
        self._recent.append((self._at, rows))
        self._strips.append(strip)
        self._lengths.append(length)
        self._ends.append(False)

    def _padding(self, strip: Strip) -> int:
        """Words of padding that a strip would need if it came next."""
        end = self._at + len(strip.x)
        pad = 0
        for at, rows in self._recent:
            if any(a == b for a, b in zip(rows, strip.rows.tolist(), strict=False)):
                pad = max(pad, at + TIMING.rmw - end)
        return pad

    def _close(self) -> None:
        """Keeps the distance between the last strips and the first ones of the next step, too."""
        at = 0
        for number, strip in enumerate(self._strips):
            at += self._lengths[number]
            if at >= TIMING.rmw:
                break
            need = 0
            for end, rows in self._recent:
                if any(a == b for a, b in zip(rows, strip.rows.tolist(), strict=False)):
                    need = max(need, TIMING.rmw - (at + self._at - end))
            self._lengths[number] += need
            at += need

    def _words(self) -> StreamWords:
        lanes = self._arch.lanes
        lengths = np.array(self._lengths)
        total = int(lengths.sum())
        weights = np.zeros((total, lanes), np.int64)
        x = np.zeros(total, np.int64)
        last, end = np.zeros(total, np.bool_), np.zeros(total, np.bool_)
        stops = np.cumsum(lengths)
        rows = []
        for strip, start, stop, closes in zip(
            self._strips, stops - lengths, stops, self._ends, strict=True
        ):
            count = len(strip.x)
            x[start : start + count] = strip.x
            weights[start : start + count, : strip.weights.shape[1]] = strip.weights
            end[stop - 1] = closes
            if count:
                last[stop - 1] = True
                row = np.full(lanes, self._arch.dump_row)
                row[: len(strip.rows)] = strip.rows
                rows.append(row)
        segment_words = np.diff(np.flatnonzero(end), prepend=-1)
        strips = np.array(rows, np.int64).reshape(-1, lanes)
        return StreamWords(weights, x, last, end, strips, segment_words)
