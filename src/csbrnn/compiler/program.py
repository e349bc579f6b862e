"""The program: what one time step does, as a short list of macro-instructions.

A program moves *vectors*. Each has a name, a length and a kind:

=========== ==========================================================================
``input``   filled from an input stream before a step
``state``   lives from one step to the next
``scratch`` lives within one step
``constant`` a bias or a peephole; read only
=========== ==========================================================================

*Streams* are sequences of vectors in time: the model's input, its output, and, between the passes
of a bidirectional model, sequences held in memory. A *pass* runs its instructions once a time step,
forward or backward through its streams. A causal model is one pass, and can be run step by step.

Programs are independent of the target: matrices are still in their stored format. A target tiles
them, lays the vectors out in its memory and balances the work (`csbrnn.runtime` and
`csbrnn.accelerator` do). `csbrnn.compiler.interpreter` executes a program in NumPy and is its
definition.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from csbrnn.formats import Matrix

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
    "Program",
    "Slice",
    "Softmax",
    "Stream",
    "Vector",
]

VectorKind: TypeAlias = Literal["input", "state", "scratch", "constant"]


@dataclass(frozen=True)
class Vector:
    """A named run of float32 values (for a token input: one int32)."""

    name: str
    length: int
    kind: VectorKind


@dataclass(frozen=True)
class Slice:
    """Elements ``start : start + length`` of a vector."""

    vector: str
    start: int
    length: int


@dataclass(frozen=True)
class Lookup:
    """``destination = table[token]``; ``token`` is a vector of one int32."""

    destination: Slice
    token: str
    table: str


@dataclass(frozen=True)
class MatVec:
    """``destination (+)= bias + matrix[row_start:row_stop] @ source``.

    ``destination`` is a whole vector, so a target may pad it. With ``accumulate`` it is added to
    (and ``bias`` is None), else overwritten, starting from ``bias`` (a constant vector) or zero.
    Consecutive instructions with one destination form one sum, which a target may fuse. The source
    is never in the destination's vector.

    A product of a matrix in int8 is `csbrnn.numerics.int8_product`, in fp32 and to the last bit:
    the source is quantized with ``activation_scale``, or with its own if that is None.
    """

    destination: str
    source: Slice
    matrix: str
    row_start: int
    row_stop: int
    bias: str | None = None
    accumulate: bool = False
    activation_scale: float | None = None


@dataclass(frozen=True)
class MicroOp:
    """One operation of an element-wise program.

    ``op`` is ``"load"`` (of ``slice``), ``"constant"`` (``value``), ``"store"`` (of ``args[0]`` to
    ``slice``) or one of `csbrnn.cells.UNARY` and `csbrnn.cells.BINARY`; ``args`` are positions of
    earlier micro-ops.
    """

    op: str
    args: tuple[int, ...] = ()
    slice: Slice | None = None
    value: float = 0.0


@dataclass(frozen=True)
class Elementwise:
    """Runs ``operations`` for each of ``length`` elements; element k of each slice belongs to k.

    All loads see the values from before the instruction. A store that overlaps a load is to the
    same slice, and stores don't overlap: a target may go through the elements in any order.
    """

    length: int
    operations: tuple[MicroOp, ...]


@dataclass(frozen=True)
class LSTMGates:
    """``c = s(f) c + s(i) tanh(g); h = s(o) tanh(c)`` with ``i, f, g, o`` stacked in ``gates``.

    ``hidden`` receives ``s(o) tanh(c)``: the state ``h``, or scratch in an LSTM with projection.
    """

    gates: str
    cell: Slice
    hidden: Slice
    length: int


@dataclass(frozen=True)
class GRUGates:
    """``n = tanh(input_n + s(r) hidden_n); h = (1 - s(z)) n + s(z) h``, ``r, z`` stacked in gates.

    The GRU with the reset gate after the product.
    """

    gates: str
    input_candidate: str
    hidden_candidate: str
    hidden: Slice
    length: int


@dataclass(frozen=True)
class Softmax:
    """``destination = softmax(source)``, or its logarithm."""

    destination: Slice
    source: Slice
    log: bool = False


@dataclass(frozen=True)
class Copy:
    """``destination = source``."""

    destination: Slice
    source: Slice


Instruction: TypeAlias = Lookup | MatVec | Elementwise | LSTMGates | GRUGates | Softmax | Copy


@dataclass(frozen=True)
class Stream:
    """A sequence in time of values of one width.

    Attributes:
        name: ``"input"``, ``"output"``, or a name for a sequence between passes.
        width: Values a time step.
        dtype: ``"float32"``, or ``"int32"`` for token numbers (width 1).
        bound: For tokens, the size of the vocabulary: valid tokens are 0 .. bound - 1. Else 0.
    """

    name: str
    width: int
    dtype: Literal["float32", "int32"] = "float32"
    bound: int = 0


@dataclass(frozen=True)
class Pass:
    """Instructions run once a time step.

    What is read from a stream was written by earlier passes. A pass may write other elements of a
    stream that it reads.

    Attributes:
        reverse: Whether time runs backward.
        reads: (stream, offset in the stream, vector it fills) before each step.
        writes: (slice, stream, offset in the stream) after each step.
        instructions: In order.
    """

    reverse: bool
    reads: tuple[tuple[str, int, str], ...]
    writes: tuple[tuple[Slice, str, int], ...]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Program:
    """A whole model, compiled but for the target's own layout.

    Attributes:
        vectors: Name -> vector.
        streams: Name -> stream; ``"input"`` and ``"output"`` among them.
        passes: In order of execution.
        constants: Name of a constant vector -> its values, float32, shape (length,).
        matrices: Name -> weight matrix in its stored format. Shape: (outputs, inputs).
        tables: Name -> embedding table, float32. Shape: (vocabulary, features).
        states: Public name (``"rnn.h"``) -> the state vectors, one a layer and direction, that
            make it up, in PyTorch's order.
    """

    vectors: Mapping[str, Vector]
    streams: Mapping[str, Stream]
    passes: tuple[Pass, ...]
    constants: Mapping[str, npt.NDArray[np.float32]]
    matrices: Mapping[str, Matrix]
    tables: Mapping[str, npt.NDArray[np.float32]]
    states: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def causal(self) -> bool:
        """Whether it can be run one step at a time."""
        return len(self.passes) == 1 and not self.passes[0].reverse
