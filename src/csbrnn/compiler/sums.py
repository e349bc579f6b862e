"""Finds the sums of products in a cell: what matrix-vector instructions accumulate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from csbrnn.cells import Cell, Node

__all__ = ["Sum", "SumGraph", "gather_sums"]


@dataclass(frozen=True)
class Sum:
    """A sum of matrix-vector products and of constants.

    Attributes:
        products: (part of a stacked matrix, position of the operand in `SumGraph.nodes`).
        constants: (factor, vector to scale); ``""`` instead of a vector is the number 1.
    """

    products: tuple[tuple[str, int], ...]
    constants: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True)
class SumGraph:
    """A cell's graph with its products gathered into sums, and without dead operations.

    Attributes:
        nodes: Operations, each after its operands. There is no ``"product"``; a ``"sum"`` has the
            operands of its products as arguments.
        sums: Position of a ``"sum"`` -> what it sums.
        next_states: State name -> position of its next value.
        labels: Position -> a name for printing, for some of the nodes.
    """

    nodes: tuple[Node, ...]
    sums: Mapping[int, Sum]
    next_states: Mapping[str, int]
    labels: Mapping[int, str]


def gather_sums(cell: Cell) -> SumGraph:
    """Rewrites a cell's graph, flattening each sum that has products of its own.

    A product belongs to a sum when it is added there and occurs nowhere else. Parameter vectors and
    numbers of such a sum go along as its bias; its other terms are added element-wise. A product
    which belongs to no sum is a sum by itself. Sums without products keep the order in which they
    were written.
    """
    return _Rewriter(cell).run()


class _Rewriter:
    def __init__(self, cell: Cell) -> None:
        self._old = cell.graph.nodes
        self._cell = cell
        self._uses = self._count_uses()
        self._terms = self._flatten()  # sum -> (sign, term), nested sums resolved
        self._nodes: list[Node] = []
        self._sums: dict[int, Sum] = {}
        self._new: dict[int, int] = {}  # old position -> new position
        self._labels: dict[int, str] = {}

    def run(self) -> SumGraph:
        hints = self._hints()
        for old in sorted(self._needed()):
            node = self._old[old]
            if self._accumulates(old):
                self._new[old] = self._flat_sum(old, hints.get(old, ""))
            elif node.op == "product":
                operand = self._new[node.args[0]]
                product = Sum(((node.name, operand),))
                self._new[old] = self._sum(product, node.dimension, hints.get(old, ""))
            else:
                args = tuple(self._new[a] for a in node.args)
                renumbered = Node(node.op, args, node.name, node.value, node.dimension)
                self._new[old] = self._add(renumbered, self._cell.graph.labels.get(old, ""))
        next_states = {s: self._new[n] for s, n in self._cell.graph.next_states.items()}
        return SumGraph(tuple(self._nodes), self._sums, next_states, self._labels)

    def _count_uses(self) -> Counter[int]:
        """How often each node that matters is used, as operand or as next state."""
        uses = Counter(self._cell.graph.next_states.values())
        for position in reversed(range(len(self._old))):
            if uses[position]:
                uses.update(self._old[position].args)
        return uses

    def _flatten(self) -> dict[int, tuple[tuple[int, int], ...]]:
        terms: dict[int, tuple[tuple[int, int], ...]] = {}
        for position, node in enumerate(self._old):
            if node.op not in ("add", "sub"):
                continue
            signs = (1, 1 if node.op == "add" else -1)
            flat: list[tuple[int, int]] = []
            for sign, arg in zip(signs, node.args, strict=True):
                inner = terms[arg] if arg in terms and self._uses[arg] == 1 else ((1, arg),)
                flat += [(sign * inner_sign, term) for inner_sign, term in inner]
            terms[position] = tuple(flat)
        return terms

    def _is_own_product(self, sign: int, term: int) -> bool:
        return sign > 0 and self._old[term].op == "product" and self._uses[term] == 1

    def _is_constant(self, term: int) -> bool:
        return self._old[term].op in ("vector", "constant")

    def _accumulates(self, position: int) -> bool:
        return any(self._is_own_product(s, t) for s, t in self._terms.get(position, ()))

    def _needed(self) -> set[int]:
        """The nodes that remain when sums have taken in their products and constants."""
        needed = set(self._cell.graph.next_states.values())
        for position in reversed(range(len(self._old))):
            if position not in needed:
                continue
            if not self._accumulates(position):
                needed.update(self._old[position].args)
                continue
            for sign, term in self._terms[position]:
                if self._is_own_product(sign, term):
                    needed.update(self._old[term].args)
                elif not self._is_constant(term):
                    needed.add(term)
        return needed

    def _flat_sum(self, old: int, label: str) -> int:
        terms = self._terms[old]
        own = [self._old[t] for s, t in terms if self._is_own_product(s, t)]
        constants = [(s, self._old[t]) for s, t in terms if self._is_constant(t)]
        rest = [
            (s, t) for s, t in terms if not self._is_own_product(s, t) and not self._is_constant(t)
        ]
        dimension = self._old[old].dimension
        gathered = Sum(
            tuple((node.name, self._new[node.args[0]]) for node in own),
            tuple((s * (n.value if n.op == "constant" else 1.0), n.name) for s, n in constants),
        )
        position = self._sum(gathered, dimension, label)
        for sign, term in rest:
            op = "add" if sign > 0 else "sub"
            position = self._add(
                Node(op, (position, self._new[term]), dimension=dimension),
                self._cell.graph.labels.get(old, ""),
            )
        return position

    def _sum(self, gathered: Sum, dimension: str, label: str) -> int:
        operands = tuple(operand for _, operand in gathered.products)
        position = self._add(Node("sum", operands, dimension=dimension), label)
        self._sums[position] = gathered
        return position

    def _add(self, node: Node, label: str) -> int:
        self._nodes.append(node)
        if label:
            self._labels[len(self._nodes) - 1] = label
        return len(self._nodes) - 1

    def _hints(self) -> dict[int, str]:
        """Names of nodes; one without a name is called after the first named user."""
        labels = dict(self._cell.graph.labels)
        for position, label in sorted(self._cell.graph.labels.items()):
            for arg in self._old[position].args:
                labels.setdefault(arg, label)
        return labels
