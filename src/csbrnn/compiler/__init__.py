"""From a packed model to a program: macro-instructions on vectors, the same for every target.

In the order in which data passes: `schedule` cuts the model into units and passes, `sums` gathers
a cell's matrix products, `cell_lowering` writes one cell's step and `lower` the whole program with
`builder`; `copies` and `fuse` improve it (`access` tells what instructions touch), and `verify`
with `declarations` checks it. `program` is the instruction set, `interpreter` its definition,
`text` its print. With it, `calibration` finds static activation scales and `accuracy` tells what a
precision costs.
"""

from csbrnn.compiler.accuracy import PrecisionCost, precision_report
from csbrnn.compiler.calibration import calibrate
from csbrnn.compiler.interpreter import run_program
from csbrnn.compiler.lower import lower
from csbrnn.compiler.program import (
    Copy,
    Elementwise,
    GRUGates,
    Instruction,
    Lookup,
    LSTMGates,
    MatVec,
    MicroOp,
    Pass,
    Program,
    Slice,
    Softmax,
    Stream,
    Vector,
)
from csbrnn.compiler.text import format_program
from csbrnn.compiler.verify import program_problems, verify_program

__all__ = [
    "Copy",
    "Elementwise",
    "GRUGates",
    "Instruction",
    "LSTMGates",
    "Lookup",
    "MatVec",
    "MicroOp",
    "Pass",
    "PrecisionCost",
    "Program",
    "Slice",
    "Softmax",
    "Stream",
    "Vector",
    "calibrate",
    "format_program",
    "lower",
    "precision_report",
    "program_problems",
    "run_program",
    "verify_program",
]
