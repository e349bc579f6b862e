"""What an RNN computes: each cell written once, as named states, parameters and equations.

`equations` reads the text, `cell` describes a cell, `library` holds the built-in ones, `stack`
puts layers together, and `interpreter` is the plain evaluator that defines their meaning.
"""

from csbrnn.cells.cell import Cell, Parameter, gated_parameters
from csbrnn.cells.equations import BINARY, UNARY, Graph, Node
from csbrnn.cells.interpreter import NUMPY_OPERATIONS, Operations, cell_step, split_parts
from csbrnn.cells.library import (
    CELLS,
    GRU,
    GRU_RESET_BEFORE,
    LIGRU,
    LSTM,
    LSTM_PEEPHOLE,
    LSTM_PROJECTION,
    RNN_RELU,
    RNN_TANH,
)
from csbrnn.cells.stack import Direction, Stack, run_stack

__all__ = [
    "BINARY",
    "CELLS",
    "GRU",
    "GRU_RESET_BEFORE",
    "LIGRU",
    "LSTM",
    "LSTM_PEEPHOLE",
    "LSTM_PROJECTION",
    "NUMPY_OPERATIONS",
    "RNN_RELU",
    "RNN_TANH",
    "UNARY",
    "Cell",
    "Direction",
    "Graph",
    "Node",
    "Operations",
    "Parameter",
    "Stack",
    "cell_step",
    "gated_parameters",
    "run_stack",
    "split_parts",
]
