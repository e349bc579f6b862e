"""Prints a program as readable assembly."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from csbrnn.compiler.program import (
    Copy,
    Elementwise,
    GRUGates,
    Instruction,
    Lookup,
    LSTMGates,
    MatVec,
    Pass,
    Program,
    Slice,
    Softmax,
)

__all__ = ["format_program"]

_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
#: Longest expression printed as a whole; the rest goes to lines of its own. Ours.
_MAX_EXPRESSION = 60


def format_program(program: Program) -> str:
    """The program as text, the same for equal programs; ends with a newline."""
    return "\n".join(_Printer(program).lines()) + "\n"


class _Printer:
    def __init__(self, program: Program) -> None:
        self._program = program
        self._vectors = program.vectors

    def lines(self) -> Iterator[str]:
        program = self._program
        causal = "causal" if program.causal else "whole sequences"
        count = len(program.passes)
        yield f"program: {count} pass{'es' if count > 1 else ''}, {causal}"
        yield from self._declarations()
        for number, part in enumerate(program.passes):
            yield ""
            yield f"pass {number} ({'backward' if part.reverse else 'forward'} in time)"
            yield from self._pass(part)

    def _declarations(self) -> Iterator[str]:
        program = self._program
        yield from _table(
            "streams",
            [
                [s.name, str(s.width), s.dtype + (f" < {s.bound}" if s.bound else "")]
                for s in program.streams.values()
            ],
        )
        yield from _table(
            "states", [[name, ", ".join(map(self._sized, v))] for name, v in program.states.items()]
        )
        yield from _table(
            "matrices",
            [
                [
                    n,
                    "x".join(map(str, m.shape)),
                    m.FORMAT,
                    m.dtype,
                    f"{m.density:.4f} kept",
                    _bytes(m.nbytes),
                ]
                for n, m in program.matrices.items()
            ],
        )
        yield from _table(
            "tables",
            [
                [n, "x".join(map(str, t.shape)), str(t.dtype), _bytes(t.nbytes)]
                for n, t in program.tables.items()
            ],
        )
        yield from _table(
            "constants", [[self._sized(n), _bytes(v.nbytes)] for n, v in program.constants.items()]
        )
        scratch = [v for v in program.vectors.values() if v.kind == "scratch"]
        yield from _table("scratch", [[self._sized(v.name), _bytes(4 * v.length)] for v in scratch])

    def _pass(self, part: Pass) -> Iterator[str]:
        for stream, offset, vector in part.reads:
            stop = offset + self._vectors[vector].length
            yield f"  read     {self._sized(vector)} = stream {stream}[{offset}:{stop}]"
        for instruction in part.instructions:
            yield from self._instruction(instruction)
        for source, stream, offset in part.writes:
            stop = offset + source.length
            yield f"  write    stream {stream}[{offset}:{stop}] = {self._slice(source)}"

    def _instruction(self, code: Instruction) -> Iterator[str]:
        match code:
            case Lookup():
                yield f"  lookup   {self._slice(code.destination)} = {code.table}[{code.token}]"
            case MatVec():
                rows = f"[{code.row_start}:{code.row_stop}]"
                whole = (0, self._program.matrices[code.matrix].shape[0])
                if (code.row_start, code.row_stop) == whole:
                    rows = ""
                bias = "" if code.bias is None else f"{code.bias} + "
                sign = "+=" if code.accumulate else "="
                static = code.activation_scale
                scale = "" if static is None else f" / {static:g}"
                yield (
                    f"  matvec   {code.destination} {sign} {bias}"
                    f"{code.matrix}{rows} @ {self._slice(code.source)}{scale}"
                )
            case Elementwise():
                yield f"  element  {code.length}"
                yield from (f"             {line}" for line in self._element_wise(code))
            case LSTMGates():
                places = f"{self._slice(code.cell)}, {self._slice(code.hidden)}"
                yield f"  lstm     {places} = gates({code.gates}, {self._slice(code.cell)})"
            case GRUGates():
                place = self._slice(code.hidden)
                args = (code.gates, code.input_candidate, code.hidden_candidate, place)
                yield f"  gru      {place} = gates({', '.join(args)})"
            case Softmax():
                function = "log_softmax" if code.log else "softmax"
                source = self._slice(code.source)
                yield f"  softmax  {self._slice(code.destination)} = {function}({source})"
            case Copy():
                yield f"  copy     {self._slice(code.destination)} = {self._slice(code.source)}"

    def _element_wise(self, code: Elementwise) -> Iterator[str]:
        """One line a store; values used twice, and long ones, get a line and a number."""
        uses = Counter(a for o in code.operations for a in o.args)
        stored = {o.args[0] for o in code.operations if o.op == "store" and uses[o.args[0]] == 1}
        texts: list[str] = []
        infix: set[int] = set()  # operations whose text needs parentheses inside another
        for position, operation in enumerate(code.operations):
            args = [texts[a] for a in operation.args]
            match operation.op:
                case "load":
                    assert operation.slice is not None
                    text = self._slice(operation.slice)
                case "constant":
                    text = f"{operation.value:g}"
                case "store":
                    assert operation.slice is not None
                    yield f"{self._slice(operation.slice)} = {args[0]}"
                    text = ""
                case op if op in _INFIX:
                    left, right = (
                        f"({texts[a]})" if a in infix else texts[a] for a in operation.args
                    )
                    text = f"{left} {_INFIX[op]} {right}"
                    infix.add(position)
                case op:
                    text = f"{op}({', '.join(args)})"
            long = len(text) > _MAX_EXPRESSION and position not in stored
            if operation.args and text and (uses[position] > 1 or long):
                yield f"%{position} = {text}"
                text = f"%{position}"
                infix.discard(position)
            texts.append(text)

    def _sized(self, name: str) -> str:
        return f"{name}[{self._vectors[name].length}]"

    def _slice(self, part: Slice) -> str:
        if part == Slice(part.vector, 0, self._vectors[part.vector].length):
            return part.vector
        return f"{part.vector}[{part.start}:{part.start + part.length}]"


def _table(title: str, rows: list[list[str]]) -> Iterator[str]:
    if not rows:
        return
    yield f"{title}:"
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def _bytes(count: int) -> str:
    return f"{count} bytes"
