"""A target of your own: a packed model as one file of plain Python, for boards without NumPy.

    python examples/custom_target.py

MicroPython runs such a file on a microcontroller. The weights that pruning took out are in it as
little as in C: each row of a matrix is the columns and the weights that it kept.
"""

import math
import random
import sys

import numpy as np
import torch
from torch import nn

import csbrnn
from csbrnn.compiler import (
    Copy,
    Elementwise,
    Lookup,
    MatVec,
    Program,
    Softmax,
    lower,
    run_program,
)
from csbrnn.errors import UnsupportedModelError

PRELUDE = '''\
"""One step of a recurrent network. Written by examples/custom_target.py."""
from math import exp, inf, log, tanh

def product(rows, x, begin, to, start):
    for r, (columns, weights) in enumerate(rows):
        total = start[r]
        for column, weight in zip(columns, weights):
            total += weight * x[begin + column]
        to[r] = total

def softmax(x, log_of_it):
    e = [exp(value - max(x)) for value in x]
    return [log(value / sum(e)) if log_of_it else value / sum(e) for value in e]
'''

#: A micro-operation -> the expression of one element.
EXPRESSIONS = {
    "neg": "-{0}",
    "sigmoid": "0.5 + 0.5 * tanh(0.5 * {0})",  # exp(-x) would overflow
    "tanh": "tanh({0})",
    "relu": "max({0}, 0.0)",
    "exp": "exp({0}) if {0} < 709.0 else inf",
    "log": "log({0}) if {0} > 0.0 else -inf",
    "abs": "abs({0})",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "maximum": "max({0}, {1})",
    "minimum": "min({0}, {1})",
}


def emit(program: Program) -> str:
    """Returns the text of a module with ``step(x)``, which keeps its state from call to call."""
    refuse(program)
    (steps,) = program.passes
    # Names in a program are a model's own ("rnn.gates"): numbered, they are Python's as well.
    vector = {name: f"v{number}" for number, name in enumerate(program.vectors)}
    matrix = {name: f"m{number}" for number, name in enumerate(program.matrices)}
    table = {name: f"t{number}" for number, name in enumerate(program.tables)}

    def part(piece):
        return f"{vector[piece.vector]}[{piece.start}:{piece.start + piece.length}]"

    lines = [PRELUDE]
    for name, v in program.vectors.items():
        values = program.constants.get(name, np.zeros(v.length, np.float32)).tolist()
        lines.append(f"{vector[name]} = {values}  # {v.kind} {name}")
    for name, stored in program.matrices.items():
        rows = [(np.flatnonzero(row).tolist(), row[row != 0].tolist()) for row in stored.to_dense()]
        lines.append(f"{matrix[name]} = {rows}  # {name}")
    lines += [f"{table[name]} = {rows.tolist()}" for name, rows in program.tables.items()]

    lines += ["", "def step(x):", f"    y = [0.0] * {program.streams['output'].width}"]
    for _, offset, name in steps.reads:
        length = program.vectors[name].length
        lines.append(f"    {vector[name]}[:] = x[{offset}:{offset + length}]")
    for code in steps.instructions:
        match code:
            case MatVec():
                to, rows = vector[code.destination], f"[{code.row_start}:{code.row_stop}]"
                zeros = f"[0.0] * {code.row_stop - code.row_start}"
                start = to if code.accumulate else vector[code.bias] if code.bias else zeros
                lines.append(
                    f"    product({matrix[code.matrix]}{rows}, {vector[code.source.vector]},"
                    f" {code.source.start}, {to}, {start})"
                )
            case Elementwise():
                lines += element_wise(code, vector)
            case Softmax():
                lines.append(
                    f"    {part(code.destination)} = softmax({part(code.source)}, {code.log})"
                )
            case Copy():
                lines.append(f"    {part(code.destination)} = {part(code.source)}")
            case Lookup():
                lines.append(
                    f"    {part(code.destination)} = {table[code.table]}[{vector[code.token]}[0]]"
                )
    for piece, _, offset in steps.writes:
        lines.append(f"    y[{offset}:{offset + piece.length}] = {part(piece)}")
    return "\n".join([*lines, "    return y", ""])


def refuse(program: Program) -> None:
    """Refuses what this target can't run, with all reasons, rather than to run it wrongly."""
    reasons = [
        f"{name} is in {stored.precision.name}, whose products round their operand: pack in fp32"
        for name, stored in program.matrices.items()
        if stored.precision.rounds_operand
    ]
    if not program.causal:
        reasons.append("a bidirectional model can't be run step by step")
    if reasons:
        raise UnsupportedModelError("can't write plain Python", reasons)


def element_wise(code: Elementwise, vector: dict[str, str]) -> list[str]:
    """The lines of a loop over elements. Stores come last: all loads see the values from before."""
    body, stores = [], []
    for number, operation in enumerate(code.operations):
        args = [f"e{position}" for position in operation.args]
        place = operation.slice
        element = place and f"{vector[place.vector]}[{place.start} + k]"
        if operation.op == "store":
            stores.append(f"        {element} = {args[0]}")
            continue
        if operation.op == "load":
            value = element
        elif operation.op == "constant":
            value = repr(operation.value)
        else:
            value = EXPRESSIONS[operation.op].format(*args)
        body.append(f"        e{number} = {value}")
    return [f"    for k in range({code.length}):", *body, *stores]


class Tagger(nn.Module):
    """A small network to show it with: two layers of GRU, and a class for every step."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(6, 32, num_layers=2)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        return torch.softmax(self.head(self.rnn(x)[0]), -1)


def main():
    torch.manual_seed(0)
    model = Tagger()
    recipe = csbrnn.Recipe("csb(block=16x16,row_group=4)", pruning_rate=4, method=csbrnn.OneShot())
    csbrnn.prune_(model, recipe).finalize()  # a real one is trained in between
    packed = csbrnn.pack(model)

    program = lower(packed, fuse=False)  # gates as their element-wise operations: fewer to write
    text = emit(program)
    print(f"{packed.kept_weights} of {packed.dense_weights} weights: {len(text)} bytes of Python")

    written: dict = {}
    exec(compile(text, "step.py", "exec"), written)
    draw = random.Random(0)
    xs = [[draw.uniform(-1, 1) for _ in range(6)] for _ in range(50)]
    ys = [written["step"](x) for x in xs]
    expected, _ = run_program(program, np.array(xs, np.float32))  # the definition
    error = max(math.dist(y, e) for y, e in zip(ys, expected, strict=True))
    print(f"plain Python and the program's definition agree to {error:.1e}")
    return error


if __name__ == "__main__":
    sys.exit(main() > 1e-6)
