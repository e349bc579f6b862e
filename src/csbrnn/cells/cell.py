"""The description of an RNN cell: named states, parameters and equations."""

from __future__ import annotations

import keyword
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from csbrnn.cells.equations import Graph, parse_equations
from csbrnn.errors import EquationError

__all__ = ["DIMENSIONS", "Cell", "Parameter", "gated_parameters"]

#: The lengths that vectors of a cell can have: of the step's input, of the hidden state, and of
#: the projected hidden state (Sak et al., 2014).
DIMENSIONS = ("input", "hidden", "proj")
#: Most parameters, states and parts that a cell may have; bounds work on hostile input.
_MAX_PARTS = 64


@dataclass(frozen=True)
class Parameter:
    """A trained tensor of a cell.

    Attributes:
        name: Its name in checkpoints, without the layer's suffix: ``"weight_ih"``.
        parts: The names that equations use, stacked along the rows in this order: the gate order.
        rows: Dimension of each part's rows.
        columns: Dimension of the columns; ``""`` for a vector.
    """

    name: str
    parts: tuple[str, ...]
    rows: str
    columns: str = ""

    @property
    def is_matrix(self) -> bool:
        """Whether it is a weight matrix, which patterns may prune, rather than a vector."""
        return self.columns != ""

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Shape of the stacked tensor: ``(parts * rows, columns)`` or ``(parts * rows,)``."""
        stacked = (len(self.parts) * sizes[self.rows],)
        return (*stacked, sizes[self.columns]) if self.is_matrix else stacked


@dataclass(frozen=True)
class Cell:
    """An RNN cell, described once; every executor (NumPy, PyTorch, C, hardware) reads this.

    Attributes:
        name: Name for messages and files.
        states: State name -> dimension, in the order in which states are passed around.
        parameters: The trained tensors.
        equations: One step as text; see `csbrnn.cells.equations`.
        output: The state whose next value is the cell's output.

    Raises:
        EquationError: The description is malformed; the message names the line.
    """

    name: str
    states: Mapping[str, str]
    parameters: tuple[Parameter, ...]
    equations: str
    output: str = "h"
    graph: Graph = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._check_names()
        graph = parse_equations(
            self.equations,
            states=self.states,
            vectors={part: p.rows for p in self.parameters if not p.is_matrix for part in p.parts},
            matrices={
                part: (p.rows, p.columns)
                for p in self.parameters
                if p.is_matrix
                for part in p.parts
            },
            where=f"cell {self.name!r}",
        )
        object.__setattr__(self, "graph", graph)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.states.items()), self.parameters, self.equations))

    @cached_property
    def matrices(self) -> tuple[Parameter, ...]:
        """The weight matrices: what patterns prune."""
        return tuple(p for p in self.parameters if p.is_matrix)

    @cached_property
    def dimensions(self) -> frozenset[str]:
        """The dimensions that occur in the cell."""
        used = {d for p in self.parameters for d in (p.rows, p.columns)} | set(self.states.values())
        return frozenset(used - {""} | {"input"})

    @property
    def output_dimension(self) -> str:
        """Dimension of the cell's output."""
        return self.states[self.output]

    def to_dict(self) -> dict[str, Any]:
        """The description as JSON-able values; `from_dict` reads it back."""
        return {
            "name": self.name,
            "states": dict(self.states),
            "parameters": [
                {"name": p.name, "parts": list(p.parts), "rows": p.rows, "columns": p.columns}
                for p in self.parameters
            ],
            "equations": self.equations,
            "output": self.output,
        }

    @classmethod
    def from_dict(cls, data: object) -> Cell:
        """Reads what `to_dict` wrote, trusting nothing.

        Raises:
            EquationError: A key is missing, unknown or of the wrong type, or the cell is malformed.
        """
        record = _record(data, "cell", ("name", "equations", "output"))
        states, parameters = record.get("states"), record.get("parameters")
        if not isinstance(states, dict) or not isinstance(parameters, list):
            raise EquationError("cell: 'states' must be an object and 'parameters' a list")
        if len(parameters) > _MAX_PARTS:
            raise EquationError(f"cell: at most {_MAX_PARTS} parameters, got {len(parameters)}")
        _refuse_unknown(record, {"name", "states", "parameters", "equations", "output"}, "cell")
        return cls(
            record["name"],
            states,
            tuple(_parameter(p) for p in parameters),
            record["equations"],
            record["output"],
        )

    def _check_names(self) -> None:
        where = f"cell {self.name!r}"
        names = [*self.states, *(part for p in self.parameters for part in p.parts)]
        if len(names) > _MAX_PARTS:
            raise EquationError(f"{where}: at most {_MAX_PARTS} states and parts, got {len(names)}")
        for name in [*names, *(p.name for p in self.parameters)]:
            usable = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
            if not usable or len(name) > 64:
                raise EquationError(f"{where}: {name!r} is not usable as a name")
        if len(set(names)) != len(names) or "x" in names:
            raise EquationError(f"{where}: names of states and parts must differ, and not be 'x'")
        if len({p.name for p in self.parameters}) != len(self.parameters):
            raise EquationError(f"{where}: two parameters share a name")
        if self.output not in self.states:
            raise EquationError(
                f"{where}: the output must be one of the states {list(self.states)}, "
                f"got {self.output!r}"
            )
        dimensions = [*self.states.values(), *(p.rows for p in self.parameters)]
        dimensions += [p.columns for p in self.parameters if p.is_matrix]
        for dimension in dimensions:
            if dimension not in DIMENSIONS:
                raise EquationError(f"{where}: dimensions are {DIMENSIONS}, got {dimension!r}")
        if "input" in self.states.values():
            raise EquationError(f"{where}: a state's dimension is 'hidden' or 'proj'")


def gated_parameters(
    gates: str, *, hidden: str = "hidden", bias: tuple[str, ...] = ("ih", "hh")
) -> tuple[Parameter, ...]:
    """The parameters that most cells have: one ``W_i? @ x`` and one ``W_h? @ h`` a gate.

    Args:
        gates: One letter a gate, in stacking order: ``"ifgo"``.
        hidden: Dimension of ``h``: ``"proj"`` for cells with projection.
        bias: Which bias vectors there are: ``b_i?`` (``"ih"``) and ``b_h?`` (``"hh"``).

    Returns:
        ``weight_ih`` (parts ``W_ii, W_if, ...``), ``weight_hh`` (``W_hi, ...``), then ``bias_ih``
        (``b_ii, ...``) and ``bias_hh`` as asked: `torch.nn.LSTM`'s names and layout.
    """
    weights = (
        Parameter("weight_ih", tuple(f"W_i{g}" for g in gates), "hidden", "input"),
        Parameter("weight_hh", tuple(f"W_h{g}" for g in gates), "hidden", hidden),
    )
    return weights + tuple(
        Parameter(f"bias_{b}", tuple(f"b_{b[0]}{g}" for g in gates), "hidden") for b in bias
    )


def _parameter(data: object) -> Parameter:
    record = _record(data, "cell parameter", ("name", "rows", "columns"))
    parts = record.get("parts")
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts) or not parts:
        raise EquationError("cell parameter: 'parts' must be a list of names")
    if len(parts) > _MAX_PARTS:
        raise EquationError(f"cell parameter: at most {_MAX_PARTS} parts, got {len(parts)}")
    _refuse_unknown(record, {"name", "parts", "rows", "columns"}, "cell parameter")
    return Parameter(record["name"], tuple(parts), record["rows"], record["columns"])


def _record(data: object, where: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise EquationError(f"{where}: expected an object, got {type(data).__name__}")
    for key in keys:
        if not isinstance(data.get(key), str):
            raise EquationError(f"{where}: {key!r} must be a string, got {data.get(key)!r:.60}")
    return data


def _refuse_unknown(record: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(record) - known, key=str):
        raise EquationError(f"{where}: unknown key(s) {unknown}")
