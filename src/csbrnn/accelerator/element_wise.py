"""Covers element-wise instructions with vector operations, as few as it finds.

A vector operation is ``A * act(sum + v) +- e``. Expressions are walked from what is stored
towards what is loaded; each step takes in as much as one operation can do. Heuristic: not always
the fewest, but five for an LSTM and for a GRU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import replace
from typing import Final, NamedTuple

from csbrnn.accelerator.isa import ACTS, Combine
from csbrnn.accelerator.step import VectorOp
from csbrnn.compiler import Elementwise, Slice

__all__ = ["COVERED", "cover"]

COVERED: Final = (
    "load",
    "constant",
    "store",
    "add",
    "sub",
    "mul",
    "neg",
    "sigmoid",
    "tanh",
    "relu",
)
"""Micro-operations that vector operations can do."""


class _Node(NamedTuple):
    op: str
    args: tuple[int, ...] = ()
    slice: Slice | None = None
    value: float = 0.0


def cover(
    code: Elementwise,
    pending: MutableMapping[Slice, Slice | None],
    constant: Callable[[float, int], Slice],
    fresh: Callable[[int], Slice],
) -> list[VectorOp]:
    """Return vector operations that do what the instruction does.

    Args:
        code: The instruction; its micro-operations are all among `COVERED`.
        pending: Slices of sums that are not drained yet -> the bias to add, or None. Those that get
            drained are taken out.
        constant: Gives the vector of a number, of some length.
        fresh: Gives a new scratch vector of some length.
    """
    return _Cover(code, pending, constant, fresh).run()


class _Cover:
    def __init__(
        self,
        code: Elementwise,
        pending: MutableMapping[Slice, Slice | None],
        constant: Callable[[float, int], Slice],
        fresh: Callable[[int], Slice],
    ) -> None:
        self._length = code.length
        self._pending, self._constant, self._fresh = pending, constant, fresh
        self._nodes = [_Node(o.op, o.args, o.slice, o.value) for o in code.operations]
        self._stores = [(n.args[0], n.slice) for n in self._nodes if n.op == "store" and n.slice]
        self._between: dict[int, tuple[int, int]] = {}
        for position in range(len(self._nodes)):
            self._rewrite_mean(position)
        self._uses = self._count_uses()
        self._places: dict[int, Slice] = {}
        self._made: dict[Slice, int] = {}  # result -> the operation that makes it
        self._operations: list[VectorOp] = []

    def run(self) -> list[VectorOp]:
        results = [(self._place(node), place) for node, place in self._stores]
        names: dict[Slice, Slice] = {}
        copies: list[VectorOp] = []
        for result, place in results:
            made = self._made.get(result)
            later = self._operations[made + 1 :] if made is not None else []
            needed = any(
                place in o.reads for o in later
            )  # the old value, after the new one is made
            if made is None or needed or result in names or place in names.values():
                copies.append(VectorOp(place, v=result))
            else:
                names[result] = place
        # Copies see the values from before any of them.
        early = [o for o in copies if any(o.v == other.d for other in copies)]
        aside = {o: self._fresh(self._length) for o in early}
        first = [VectorOp(place, v=o.v) for o, place in aside.items()]
        last = [replace(o, v=aside.get(o, o.v)) for o in copies]
        return [_renamed(o, names) for o in [*self._operations, *first, *last]]

    # The graph.

    def _rewrite_mean(self, position: int) -> None:
        """``(1 - z) n + z h`` becomes ``z (h - n) + n``: one product less."""
        node = self._nodes[position]
        if node.op != "add":
            return
        for first, second in (node.args, node.args[::-1]):
            for z, n in self._factors(first):
                kept = self._nodes[z]
                if kept.op != "sub" or not self._is_one(kept.args[0]):
                    continue
                for other, h in self._factors(second):
                    if other == kept.args[1]:
                        last = len(self._nodes)
                        self._nodes += [_Node("sub", (h, n)), _Node("mul", (other, last))]
                        self._nodes[position] = _Node("add", (last + 1, n))
                        self._between[position] = (n, h)
                        return

    def _factors(self, position: int) -> tuple[tuple[int, int], ...]:
        node = self._nodes[position]
        if node.op != "mul":
            return ()
        a, b = node.args
        return ((a, b), (b, a))

    def _is_one(self, position: int) -> bool:
        node = self._nodes[position]
        return node.op == "constant" and node.value == 1

    def _count_uses(self) -> Counter[int]:
        uses: Counter[int] = Counter(node for node, _ in self._stores)
        todo, seen = [node for node, _ in self._stores], set[int]()
        while todo:
            node = todo.pop()
            if node not in seen:
                seen.add(node)
                uses.update(self._nodes[node].args)
                todo += self._nodes[node].args
        # The same slice may be loaded by several nodes.
        loads: Counter[Slice] = Counter()
        for node in seen:
            place = self._nodes[node].slice
            if place is not None:
                loads[place] += uses[node]
        for node in seen:
            place = self._nodes[node].slice
            if place is not None:
                uses[node] = loads[place]
        return uses

    # Values in vector memory.

    def _place(self, position: int) -> Slice:
        """Makes sure that a value is in vector memory."""
        if position in self._places:
            return self._places[position]
        node = self._nodes[position]
        if node.op == "constant":
            return self._constant(node.value, self._length)
        if node.op == "load" and node.slice is not None and node.slice not in self._pending:
            return node.slice
        place = node.slice if node.op == "load" and node.slice is not None else None
        self._places[position] = self._emit(position, place)
        return self._places[position]

    def _emit(self, position: int, place: Slice | None) -> Slice:
        # These first: an operation that takes one of them in would leave nothing to make it of.
        between = tuple(self._place(n) for n in self._between.get(position, ()))
        operation = replace(self._operation(position), between=between)
        place = self._fresh(self._length) if place is None else place
        self._operations.append(replace(operation, d=place))
        self._made[place] = len(self._operations) - 1
        return place

    # One operation, from the outside in. Its `d` is filled in by `_emit`. `own` tells the value
    # that is being made from one that may only be computed inside if nothing else needs it.

    def _operation(self, position: int) -> VectorOp:
        node = self._nodes[position]
        match node.op:
            case "add":
                inner, outer = node.args
                if self._is_leaf(inner) and not self._is_leaf(outer):
                    inner, outer = outer, inner
                addend = self._place(outer)  # may drain, so it comes first
                return replace(self._product(inner), e=addend, combine=Combine.ADD)
            case "sub":
                left, right = node.args
                if self._is_leaf(left) and not self._is_leaf(right):
                    addend = self._place(left)
                    return replace(self._product(right), e=addend, combine=Combine.RSUB)
                addend = self._place(right)
                return replace(self._product(left), e=addend, combine=Combine.SUB)
            case "neg":
                return replace(self._product(node.args[0]), combine=Combine.RSUB)
            case _:
                return self._product(position, own=True)

    def _is_leaf(self, position: int) -> bool:
        """Whether a value is in vector memory, or will be anyway."""
        node = self._nodes[position]
        drained = node.op == "load" and node.slice not in self._pending
        return (
            position in self._places or drained or node.op == "constant" or self._shared(position)
        )

    def _shared(self, position: int) -> bool:
        return self._uses[position] > 1

    def _inline(self, position: int) -> bool:
        """Whether a value may be computed inside the operation that needs it."""
        return position not in self._places and not self._shared(position)

    def _product(self, position: int, *, own: bool = False) -> VectorOp:
        node = self._nodes[position]
        if node.op != "mul" or not (own or self._inline(position)):
            return self._activation(position, own=own)
        inner, outer = node.args
        if self._rank(outer) > self._rank(inner):
            inner, outer = outer, inner
        factor = self._place(outer)
        return replace(self._activation(inner), a=factor)

    def _rank(self, position: int) -> int:
        """How much is gained by computing a factor inside."""
        node = self._nodes[position]
        if not self._inline(position):
            return 0
        if node.op in ACTS:
            return 3
        if self._sum_of(position) is not None:
            return 2
        return int(node.op == "add" and any(self._sum_of(a) is not None for a in node.args))

    def _activation(self, position: int, *, own: bool = False) -> VectorOp:
        node = self._nodes[position]
        if node.op in ACTS and (own or self._inline(position)):
            return replace(self._argument(node.args[0]), act=ACTS.index(node.op))
        return self._argument(position, own=own)

    def _argument(self, position: int, *, own: bool = False) -> VectorOp:
        if not (own or self._inline(position)):
            return VectorOp(_NOWHERE, v=self._place(position))
        drained = self._sum_of(position)
        if drained is not None:
            return VectorOp(_NOWHERE, sum=drained, v=self._pending.pop(drained))
        node = self._nodes[position]
        if node.op == "add":
            for one, other in (node.args, node.args[::-1]):
                drained = self._sum_of(one)
                if drained is not None and self._inline(one):
                    addend = self._place(self._with_bias(other, self._pending[drained]))
                    if drained in self._pending:  # else the other term has drained it
                        del self._pending[drained]
                        return VectorOp(_NOWHERE, sum=drained, v=addend)
        return VectorOp(_NOWHERE, v=self._place(position))

    def _with_bias(self, position: int, bias: Slice | None) -> int:
        """A value plus the bias of a sum to which it is added."""
        if bias is None:
            return position
        last = len(self._nodes)
        self._nodes += [_Node("load", (), bias), _Node("add", (position, last))]
        self._uses[last] = self._uses[last + 1] = 1
        return last + 1

    def _sum_of(self, position: int) -> Slice | None:
        node = self._nodes[position]
        return node.slice if node.op == "load" and node.slice in self._pending else None


_NOWHERE: Final = Slice("", 0, 0)


def _renamed(operation: VectorOp, names: Mapping[Slice, Slice]) -> VectorOp:
    def new(place: Slice | None) -> Slice | None:
        return None if place is None else names.get(place, place)

    return replace(
        operation,
        d=names.get(operation.d, operation.d),
        v=new(operation.v),
        a=new(operation.a),
        e=new(operation.e),
        between=tuple(names.get(p, p) for p in operation.between),
    )
