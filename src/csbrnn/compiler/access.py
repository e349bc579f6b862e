"""What an instruction reads and writes, and the same instruction on renamed vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from csbrnn.compiler.program import (
    Copy,
    Elementwise,
    GRUGates,
    Instruction,
    Lookup,
    LSTMGates,
    MatVec,
    Pass,
    Slice,
    Softmax,
    Vector,
)

__all__ = ["overlap", "reads", "rename_instruction", "rename_pass", "writes"]


def reads(instruction: Instruction, vectors: Mapping[str, Vector]) -> tuple[Slice, ...]:
    """The slices whose values an instruction needs, in a fixed order."""
    match instruction:
        case Lookup():
            return (_whole(instruction.token, vectors),)
        case MatVec():
            needed = [instruction.source]
            if instruction.bias is not None:
                needed.append(_whole(instruction.bias, vectors))
            if instruction.accumulate:
                needed.append(_whole(instruction.destination, vectors))
            return tuple(needed)
        case Elementwise():
            return tuple(o.slice for o in instruction.operations if o.op == "load" and o.slice)
        case LSTMGates():
            return (_whole(instruction.gates, vectors), instruction.cell)
        case GRUGates():
            return (
                _whole(instruction.gates, vectors),
                _whole(instruction.input_candidate, vectors),
                _whole(instruction.hidden_candidate, vectors),
                instruction.hidden,
            )
        case Softmax() | Copy():
            return (instruction.source,)


def writes(instruction: Instruction, vectors: Mapping[str, Vector]) -> tuple[Slice, ...]:
    """The slices that an instruction changes, in a fixed order."""
    match instruction:
        case MatVec():
            return (_whole(instruction.destination, vectors),)
        case Elementwise():
            return tuple(o.slice for o in instruction.operations if o.op == "store" and o.slice)
        case LSTMGates():
            return (instruction.cell, instruction.hidden)
        case GRUGates():
            return (instruction.hidden,)
        case Lookup() | Softmax() | Copy():
            return (instruction.destination,)


def overlap(a: Slice, b: Slice) -> bool:
    """Whether two slices share elements."""
    inside = a.start < b.start + b.length and b.start < a.start + a.length
    return a.vector == b.vector and inside


def rename_instruction(instruction: Instruction, names: Mapping[str, str]) -> Instruction:
    """The same instruction with other vectors: old name -> new name."""

    def moved(part: Slice) -> Slice:
        return replace(part, vector=names.get(part.vector, part.vector))

    match instruction:
        case Lookup():
            return replace(
                instruction,
                destination=moved(instruction.destination),
                token=names.get(instruction.token, instruction.token),
            )
        case MatVec(bias=bias):
            return replace(
                instruction,
                destination=names.get(instruction.destination, instruction.destination),
                source=moved(instruction.source),
                bias=None if bias is None else names.get(bias, bias),
            )
        case Elementwise():
            operations = tuple(
                replace(o, slice=moved(o.slice)) if o.slice else o for o in instruction.operations
            )
            return replace(instruction, operations=operations)
        case LSTMGates():
            return replace(
                instruction,
                gates=names.get(instruction.gates, instruction.gates),
                cell=moved(instruction.cell),
                hidden=moved(instruction.hidden),
            )
        case GRUGates(input_candidate=candidate, hidden_candidate=hidden):
            return replace(
                instruction,
                gates=names.get(instruction.gates, instruction.gates),
                input_candidate=names.get(candidate, candidate),
                hidden_candidate=names.get(hidden, hidden),
                hidden=moved(instruction.hidden),
            )
        case Softmax() | Copy():
            return replace(
                instruction,
                destination=moved(instruction.destination),
                source=moved(instruction.source),
            )


def rename_pass(part: Pass, names: Mapping[str, str]) -> Pass:
    """The same pass with other vectors in its instructions and writes."""
    return replace(
        part,
        writes=tuple(
            (replace(s, vector=names.get(s.vector, s.vector)), stream, offset)
            for s, stream, offset in part.writes
        ),
        instructions=tuple(rename_instruction(i, names) for i in part.instructions),
    )


def _whole(name: str, vectors: Mapping[str, Vector]) -> Slice:
    return Slice(name, 0, vectors[name].length)
