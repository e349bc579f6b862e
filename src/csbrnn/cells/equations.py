"""A cell's equations as text, parsed once into a graph of operations.

The text is a small subset of Python's expression syntax, one assignment a line::

    f = sigmoid(W_if @ x + b_if + W_hf @ h + b_hf)
    n = tanh(W_in @ x + b_in + W_hn @ (f * h) + b_hn)
    h_next = (1 - f) * h + f * n

``x`` is the step's input, a state's name (``h``) its value before the step, ``h_next`` its value
after it. ``W @ v`` is a matrix-vector product; everything else is element-wise. The text is read
with Python's own parser but never executed, so equations from a stranger's file are safe.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from csbrnn.errors import EquationError

__all__ = ["BINARY", "MAX_TEXT", "UNARY", "Graph", "Node", "parse_equations"]

#: Element-wise functions of one vector, by the name used in equations.
UNARY = ("neg", "sigmoid", "tanh", "relu", "exp", "log", "abs")
#: Element-wise functions of two vectors (or of a vector and a scalar).
BINARY = ("add", "sub", "mul", "div", "maximum", "minimum")
#: Longest accepted text, characters. The largest built-in cell needs 400; the cap bounds the
#: parser's work and its recursion on hostile input.
MAX_TEXT = 8_000
#: Deepest accepted nesting of an expression (the parser below recurses).
MAX_DEPTH = 60

_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "sub",
    ast.Mult: "mul",
    ast.Div: "div",
}


#: The same functions of numbers: what has no vector in it is computed when the text is read.
_OF_NUMBERS: dict[str, Callable[..., float]] = {
    "neg": operator.neg,
    "sigmoid": lambda v: 0.5 * (1 + math.tanh(0.5 * v)),
    "tanh": math.tanh,
    "relu": lambda v: max(v, 0.0),
    "exp": math.exp,
    "log": math.log,
    "abs": abs,
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "maximum": max,
    "minimum": min,
}


@dataclass(frozen=True)
class Node:
    """One operation of a graph.

    Attributes:
        op: ``"input"``, ``"state"``, ``"vector"`` (a bias or peephole), ``"constant"``,
            ``"product"`` (matrix times vector), or a name of `UNARY` or `BINARY`.
        args: Positions of the operands in `Graph.nodes`, each before this node.
        name: The state, vector or matrix that the node refers to, else ``""``.
        value: The number of a ``"constant"``.
        dimension: Name of the dimension which is the result's length; ``""`` for a scalar.
    """

    op: str
    args: tuple[int, ...] = ()
    name: str = ""
    value: float = 0.0
    dimension: str = ""


@dataclass(frozen=True)
class Graph:
    """A cell's step: operations in an order in which each follows its operands.

    Attributes:
        nodes: Every operation once (common subexpressions are shared).
        next_states: State name -> position of its next value.
        labels: Position -> the name that the equations gave to it, for printing.
    """

    nodes: tuple[Node, ...]
    next_states: Mapping[str, int]
    labels: Mapping[int, str] = field(default_factory=dict)


def parse_equations(
    text: str,
    *,
    states: Mapping[str, str],
    vectors: Mapping[str, str],
    matrices: Mapping[str, tuple[str, str]],
    where: str,
) -> Graph:
    """Reads equations into a graph.

    Args:
        text: The equations, one assignment a line; ``#`` starts a comment.
        states: State name -> dimension.
        vectors: Parameter vector -> dimension.
        matrices: Parameter matrix -> (dimension of its rows, dimension of its columns).
        where: What the equations belong to, for messages.

    Returns:
        The graph; every state has a next value of its own dimension.

    Raises:
        EquationError: With the line and what was expected there.
    """
    if len(text) > MAX_TEXT:
        raise EquationError(
            f"{where}: equations must be at most {MAX_TEXT} characters, got {len(text)}"
        )
    builder = _Builder(states, vectors, matrices, where)
    for number, line in enumerate(text.splitlines(), start=1):
        builder.line(number, line)
    return builder.finish()


class _Builder:
    """Collects nodes, one equation after the other."""

    def __init__(
        self,
        states: Mapping[str, str],
        vectors: Mapping[str, str],
        matrices: Mapping[str, tuple[str, str]],
        where: str,
    ) -> None:
        self._states, self._matrices, self._where = states, matrices, where
        self._nodes: list[Node] = []
        self._known: dict[tuple[Node, float], int] = {}
        self._values: dict[str, int] = {}  # name -> node
        self._labels: dict[int, str] = {}
        self._place = where
        self._line = ""
        self._leaves = {"x": Node("input", dimension="input")}
        self._leaves |= {s: Node("state", name=s, dimension=d) for s, d in states.items()}
        self._leaves |= {v: Node("vector", name=v, dimension=d) for v, d in vectors.items()}

    def line(self, number: int, line: str) -> None:
        self._line = line.strip()
        self._place = f"{self._where}, line {number} ({self._line[:80]!r})"
        # A NUL byte or absurd nesting must not escape as another kind of exception.
        try:
            statements = ast.parse(self._line).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._error(f"not an equation: {getattr(error, 'msg', error)}") from None
        for statement in statements:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    self._assign(name, self._expression(value, 0))
                case _:
                    raise self._error("expected `name = expression`")

    def _assign(self, name: str, node: int) -> None:
        if name in self._values or name in self._leaves or name in self._matrices:
            raise self._error(f"{name!r} already has a meaning; give the result another name")
        self._values[name] = node
        self._labels.setdefault(node, name)

    def finish(self) -> Graph:
        self._place = self._where
        next_states = {}
        for state, dimension in self._states.items():
            node = self._values.get(f"{state}_next")
            if node is None:
                raise self._error(f"no equation gives `{state}_next`, the state's next value")
            if self._nodes[node].dimension != dimension:
                raise self._error(
                    f"`{state}_next` must have dimension {dimension!r}, "
                    f"got {self._nodes[node].dimension or 'scalar'!r}"
                )
            next_states[state] = node
        return Graph(tuple(self._nodes), next_states, self._labels)

    def _error(self, message: str) -> EquationError:
        return EquationError(f"{self._place}: {message}")

    def _add(self, node: Node) -> int:
        key = (node, math.copysign(1, node.value))  # 0 and -0 are equal, and not the same
        if key not in self._known:
            self._known[key] = len(self._nodes)
            self._nodes.append(node)
        return self._known[key]

    def _expression(self, tree: ast.expr, depth: int) -> int:
        if depth > MAX_DEPTH:
            raise self._error(f"expressions may nest at most {MAX_DEPTH} deep; name a part of it")
        match tree:
            case ast.Name(id=name):
                return self._name(name)
            case ast.Constant(value=bool() | complex()):
                raise self._error(f"expected a number, got {tree.value!r}")
            case ast.Constant(value=int() | float() as value):
                return self._constant(value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._element_wise("neg", self._expression(operand, depth + 1))
            case ast.BinOp(left=left, op=ast.MatMult(), right=right):
                return self._product(left, self._expression(right, depth + 1))
            case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
                return self._element_wise(
                    _OPERATORS[type(operator)],
                    self._expression(left, depth + 1),
                    self._expression(right, depth + 1),
                )
            case ast.Call(func=ast.Name(id=function), args=args, keywords=[]):
                return self._call(function, [self._expression(a, depth + 1) for a in args])
            case _:
                raise self._error(
                    f"`{self._text(tree)}` is not understood; equations have numbers, names, "
                    f"+ - * / @ and the functions {', '.join(UNARY[1:] + BINARY[4:])}"
                )

    def _text(self, tree: ast.expr) -> str:
        """The start of an expression as written (`ast.unparse` recurses: not for hostile text)."""
        return (ast.get_source_segment(self._line, tree) or "")[:60]

    def _constant(self, value: float) -> int:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise self._error("numbers must be finite")
        return self._add(Node("constant", value=value))

    def _name(self, name: str) -> int:
        if name in self._values:
            return self._values[name]
        if name in self._leaves:
            return self._add(self._leaves[name])
        if name in self._matrices:
            raise self._error(f"matrix {name!r} can only stand left of @")
        known = sorted([*self._leaves, *self._matrices, *self._values])
        raise self._error(f"unknown name {name!r}; known here: {', '.join(known)}")

    def _call(self, function: str, args: list[int]) -> int:
        arity = 1 if function in UNARY else 2 if function in BINARY else None
        if arity is None:
            raise self._error(f"unknown function {function!r}; known: {', '.join(UNARY + BINARY)}")
        if len(args) != arity:
            raise self._error(f"{function} takes {arity} operand(s), got {len(args)}")
        return self._element_wise(function, *args)

    def _product(self, left: ast.expr, operand: int) -> int:
        if not (isinstance(left, ast.Name) and left.id in self._matrices):
            raise self._error(
                f"left of @ must stand one of the matrices {', '.join(self._matrices)}, "
                f"got `{self._text(left)}` (write r * (W @ h), not r * W @ h)"
            )
        rows, columns = self._matrices[left.id]
        got = self._nodes[operand].dimension
        if got != columns:
            raise self._error(
                f"{left.id} takes a vector of dimension {columns!r}, got {got or 'scalar'!r}"
            )
        return self._add(Node("product", (operand,), name=left.id, dimension=rows))

    def _element_wise(self, op: str, *args: int) -> int:
        dimensions = {self._nodes[a].dimension for a in args} - {""}
        if len(dimensions) > 1:
            raise self._error(f"{op} needs operands of one length, got {sorted(dimensions)}")
        if not dimensions:
            return self._of_numbers(op, *(self._nodes[a].value for a in args))
        return self._add(Node(op, args, dimension=dimensions.pop()))

    def _of_numbers(self, op: str, *values: float) -> int:
        try:
            value = _OF_NUMBERS[op](*values)
        except (ArithmeticError, ValueError):
            shown = ", ".join(map(str, values))
            raise self._error(f"numbers must be finite; {op} of {shown} is not") from None
        return self._constant(value)
