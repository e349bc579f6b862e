"""Lowers one step of one cell to instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from csbrnn.cells import Cell, Parameter
from csbrnn.compiler.builder import ProgramBuilder
from csbrnn.compiler.program import Copy, Elementwise, Instruction, MatVec, MicroOp, Slice
from csbrnn.compiler.sums import Sum, gather_sums
from csbrnn.formats import Matrix

__all__ = ["CellContext", "lower_cell"]


@dataclass(frozen=True)
class CellContext:
    """A cell in its place.

    Attributes:
        cell: The cell.
        sizes: Dimension -> length.
        parameters: Parameter name -> stacked matrix or vector; vectors may be missing (zero).
        x: Where the step's input is found.
        states: State name -> its vector.
        name: Makes the full name of a vector or a matrix from a short one.
        activation_scales: Name of a matrix -> the static scale of what it multiplies.
    """

    cell: Cell
    sizes: Mapping[str, int]
    parameters: Mapping[str, Matrix | npt.NDArray[np.float32]]
    x: Slice
    states: Mapping[str, Slice]
    name: Callable[[str], str]
    activation_scales: Mapping[str, float] = field(default_factory=dict)


def lower_cell(builder: ProgramBuilder, context: CellContext) -> list[Instruction]:
    """Instructions for one step of a cell; the next states end up in the states' vectors.

    The work is laid out in stages: matrix-vector products of what is known, then the element-wise
    rest that these allow, then products of that, and so on. New states are computed beside the old
    ones and copied at the end; `csbrnn.compiler.copies` removes the copies that aren't needed.
    """
    return _CellLowering(builder, context).run()


@dataclass
class _Group:
    """Sums that run as one: their products are neighbouring rows of the same matrices."""

    sums: list[int]
    operands: tuple[tuple[str, int], ...]  # (parameter, operand) of each product
    first_parts: tuple[int, ...]  # of each product: the first sum's part


class _CellLowering:
    def __init__(self, builder: ProgramBuilder, context: CellContext) -> None:
        self._builder = builder
        self._context = context
        self._sizes = context.sizes
        self._graph = gather_sums(context.cell)
        self._nodes = self._graph.nodes
        self._parts: dict[str, tuple[Parameter, int]] = {
            part: (parameter, index)
            for parameter in context.cell.parameters
            for index, part in enumerate(parameter.parts)
        }
        self._vectors: dict[str, Slice] = {}  # vector parameter -> its constant
        self._slices: dict[int, Slice] = {}  # node -> where its value is
        self._code: list[Instruction] = []

    def run(self) -> list[Instruction]:
        earliest = self._earliest_stages()
        stages = self._element_stages(earliest)
        stored = self._stored(stages)
        groups = self._groups(earliest)
        for stage in range(max([*earliest, *stages.values()]) + 1):
            for group in groups:
                if earliest[group.sums[0]] == stage:
                    self._products(group)
            here = [n for n, s in stages.items() if s == stage]
            for dimension in sorted({self._nodes[n].dimension for n in here}):
                inside = [n for n in here if self._nodes[n].dimension == dimension]
                self._element_wise(inside, stored)
        self._move_states()
        return self._code

    # Stages: stage s is some matrix-vector products, then some element-wise work.

    def _is_element_wise(self, node: int) -> bool:
        return bool(self._nodes[node].args) and node not in self._graph.sums

    def _earliest_stages(self) -> list[int]:
        earliest: list[int] = []
        for position, node in enumerate(self._nodes):
            stage = max((earliest[a] for a in node.args), default=0)
            earliest.append(stage + 1 if position in self._graph.sums else stage)
        return earliest

    def _element_stages(self, earliest: list[int]) -> dict[int, int]:
        """Element-wise node -> its stage: that of the first use, so that little is kept."""
        stages: dict[int, int] = {}
        for state_node in self._graph.next_states.values():
            stages[state_node] = earliest[state_node]
        for user in reversed(range(len(self._nodes))):
            limit = earliest[user] - 1 if user in self._graph.sums else stages.get(user, 0)
            for arg in self._nodes[user].args:
                stages[arg] = min(stages.get(arg, limit), limit)
        return {n: stages[n] for n in range(len(self._nodes)) if self._is_element_wise(n)}

    def _stored(self, stages: Mapping[int, int]) -> frozenset[int]:
        """Element-wise nodes whose values are read outside the instruction that makes them."""
        stored = set(self._graph.next_states.values())
        for user, node in enumerate(self._nodes):
            stored.update(a for a in node.args if stages.get(a) != stages.get(user))
        return frozenset(stored & stages.keys())

    # Matrix-vector products.

    def _groups(self, earliest: list[int]) -> list[_Group]:
        """Merges sums of equal operands whose rows lie side by side in every matrix."""
        alike: dict[tuple[tuple[str, int], ...], list[tuple[tuple[int, ...], int]]] = {}
        for position, gathered in self._graph.sums.items():
            products = sorted(
                (earliest[operand], self._order(part), operand, part)
                for part, operand in gathered.products
            )
            operands = tuple((self._parts[part][0].name, o) for _, _, o, part in products)
            parts = tuple(self._parts[part][1] for *_, part in products)
            alike.setdefault(operands, []).append((parts, position))
        groups: list[_Group] = []
        for operands, members in alike.items():
            following: tuple[int, ...] | None = None
            for parts, position in sorted(members):
                if parts == following:
                    groups[-1].sums.append(position)
                else:
                    groups.append(_Group([position], operands, parts))
                following = tuple(p + 1 for p in parts)
        # Products of the input come first, and those of one matrix follow each other.
        return sorted(groups, key=lambda g: self._order(self._part_of_first_product(g)))

    def _part_of_first_product(self, group: _Group) -> str:
        name, _ = group.operands[0]
        parameter = next(p for p in self._context.cell.parameters if p.name == name)
        return parameter.parts[group.first_parts[0]]

    def _order(self, part: str) -> tuple[int, int]:
        parameter, index = self._parts[part]
        return self._context.cell.parameters.index(parameter), index

    def _products(self, group: _Group) -> None:
        rows = self._sizes[self._nodes[group.sums[0]].dimension]
        count = len(group.sums)
        name = self._group_name(group)
        whole = self._builder.vector(self._context.name(name), count * rows, "scratch")
        for k, position in enumerate(group.sums):
            self._slices[position] = Slice(whole.vector, k * rows, rows)
        bias = self._bias(name, [self._graph.sums[s] for s in group.sums], rows)
        sources = [self._operand(operand) for _, operand in group.operands]
        for k, ((parameter, _), first) in enumerate(
            zip(group.operands, group.first_parts, strict=True)
        ):
            matrix = self._context.parameters[parameter]
            assert isinstance(matrix, Matrix)
            self._code.append(
                MatVec(
                    destination=whole.vector,
                    source=sources[k],
                    matrix=self._builder.matrix(self._context.name(parameter), matrix),
                    row_start=first * rows,
                    row_stop=(first + count) * rows,
                    bias=bias if k == 0 else None,
                    accumulate=k > 0,
                    activation_scale=self._context.activation_scales.get(parameter),
                )
            )

    def _operand(self, position: int) -> Slice:
        """Where a product finds a node's value: in memory, into which constants are copied."""
        if self._nodes[position].op != "vector":
            return self._slice(position)
        if position not in self._slices:
            source, name = self._slice(position), f"{self._nodes[position].name}_value"
            place = self._builder.vector(self._context.name(name), source.length, "scratch")
            operations = (MicroOp("load", slice=source), MicroOp("store", (0,), place))
            self._code.append(Elementwise(source.length, operations))
            self._slices[position] = place
        return self._slices[position]

    def _bias(self, name: str, sums: Sequence[Sum], rows: int) -> str | None:
        """The sums' constants, stacked, as a vector; None if there are none."""
        pieces = [np.zeros(rows) for _ in sums]
        present = False
        for piece, gathered in zip(pieces, sums, strict=True):
            for factor, part in gathered.constants:
                values = self._part_values(part, rows) if part else 1.0
                if values is not None:
                    piece += factor * values
                    present = True
        if not present:
            return None
        # Exact in float64, then rounded once; what overflows here would overflow when run.
        with np.errstate(over="ignore"):
            values = np.concatenate(pieces).astype(np.float32)
        return self._builder.constant(self._context.name(f"{name}_bias"), values).vector

    def _part_values(self, part: str, rows: int) -> npt.NDArray[np.float64] | None:
        parameter, index = self._parts[part]
        values = self._context.parameters.get(parameter.name)
        if values is None:
            return None
        assert isinstance(values, np.ndarray)
        return values[index * rows : (index + 1) * rows].astype(np.float64)

    def _group_name(self, group: _Group) -> str:
        labels = [self._graph.labels.get(s, "").removesuffix("_next") for s in group.sums]
        if all(labels):
            together = ("" if max(map(len, labels)) == 1 else "_").join(labels)
            return f"pre_{together:.24}"
        return f"sum_{self._graph.sums[group.sums[0]].products[-1][0]}"

    # Everything else.

    def _element_wise(self, inside: list[int], stored: frozenset[int]) -> None:
        length = self._sizes[self._nodes[inside[0]].dimension]
        operations: list[MicroOp] = []
        position_of: dict[int, int] = {}
        for node in inside:  # in the graph's order: operands first
            for arg in self._nodes[node].args:
                if arg not in position_of:
                    position_of[arg] = len(operations)
                    operations.append(self._load(arg))
            args = tuple(position_of[a] for a in self._nodes[node].args)
            position_of[node] = len(operations)
            operations.append(MicroOp(self._nodes[node].op, args))
        names = {node: f"{state}_next" for state, node in self._graph.next_states.items()}
        for node in inside:
            if node in stored:
                name = names.get(node) or self._graph.labels.get(node, "value")
                place = self._builder.vector(self._context.name(name), length, "scratch")
                operations.append(MicroOp("store", (position_of[node],), place))
                self._slices[node] = place
        self._code.append(Elementwise(length, tuple(operations)))

    def _load(self, node: int) -> MicroOp:
        if self._nodes[node].op == "constant":
            return MicroOp("constant", value=self._nodes[node].value)
        return MicroOp("load", slice=self._slice(node))

    def _slice(self, position: int) -> Slice:
        """Where the value of a node is found, once it is computed."""
        node = self._nodes[position]
        match node.op:
            case "input":
                return self._context.x
            case "state":
                return self._context.states[node.name]
            case "vector":
                return self._vector_slice(node.name)
            case _:
                return self._slices[position]

    def _vector_slice(self, part: str) -> Slice:
        parameter, index = self._parts[part]
        rows = self._sizes[parameter.rows]
        if parameter.name not in self._vectors:
            values = self._context.parameters.get(parameter.name)
            if values is None:
                values = np.zeros(parameter.shape(self._sizes), np.float32)
            assert isinstance(values, np.ndarray)
            name = self._context.name(parameter.name)
            self._vectors[parameter.name] = self._builder.constant(name, values)
        return Slice(self._vectors[parameter.name].vector, index * rows, rows)

    def _move_states(self) -> None:
        moves: list[Copy] = []
        for state, node in self._graph.next_states.items():
            place, source = self._context.states[state], self._slice(node)
            if source == place:
                continue
            if self._nodes[node].op == "state":  # may be overwritten by another move: set it aside
                aside = self._builder.vector(
                    self._context.name(f"{state}_next"), place.length, "scratch"
                )
                self._code.append(Copy(aside, source))
                source = aside
            moves.append(Copy(place, source))
        self._code += moves
