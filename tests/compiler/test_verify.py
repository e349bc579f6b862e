from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.cells import GRU, LSTM, RNN_TANH, Stack
from csbrnn.compiler import (
    Copy,
    Elementwise,
    GRUGates,
    Lookup,
    LSTMGates,
    MatVec,
    MicroOp,
    Pass,
    Slice,
    Softmax,
    Stream,
    Vector,
    lower,
    program_problems,
    run_program,
    verify_program,
)
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import Activation, Embedding, Linear, PackedModel, Tokens

from .models import matrix, recurrent, values

RNG = np.random.default_rng(0)


def tokens_to(cell, **options):
    """Tokens, embedding of 3, recurrent of 4, linear of 5, softmax."""
    layers = (
        Embedding("emb", ("input",), matrix(RNG, 6, 3)),
        recurrent(RNG, "rnn", "emb", Stack(cell, 3, 4, **options)),
        Linear("out", ("rnn",), matrix(RNG, 5, 8 if options else 4), values(RNG, 5)),
        Activation("p", ("out",), "softmax"),
    )
    return lower(PackedModel(layers, Tokens(6), "p"))


PROGRAM = tokens_to(LSTM)
GRU_PROGRAM = tokens_to(GRU)
RNN_PROGRAM = tokens_to(RNN_TANH)
TWO_WAYS = tokens_to(GRU, bidirectional=True)


def changed(program, kind, number=0, **options):
    """The program with other fields in its instruction ``number`` of a kind."""
    (part, *rest) = program.passes
    old = [i for i in part.instructions if isinstance(i, kind)][number]
    code = tuple(replace(old, **options) if i is old else i for i in part.instructions)
    return replace(program, passes=(replace(part, instructions=code), *rest))


def with_code(program, *code, after=99):
    (part, *rest) = program.passes
    old = part.instructions
    new = replace(part, instructions=old[:after] + code + old[after:])
    return replace(program, passes=(new, *rest))


def with_part(program, number=0, **options):
    passes = list(program.passes)
    passes[number] = replace(passes[number], **options)
    return replace(program, passes=tuple(passes))


def with_micro_op(position, operation):
    (code,) = [i for i in RNN_PROGRAM.passes[0].instructions if isinstance(i, Elementwise)]
    operations = list(code.operations)
    operations[position : position + 1] = operation
    return changed(RNN_PROGRAM, Elementwise, operations=tuple(operations))


H = Slice("rnn.h_l0", 0, 4)
P = Slice("p", 0, 5)
X = Slice("emb", 0, 3)
PRE = "rnn.pre_ifgo_l0"
CASES = {
    # Declarations.
    "vector 'a': must have its own name": replace(
        PROGRAM, vectors={**PROGRAM.vectors, "a": Vector("b", 1, "scratch")}
    ),
    "vector 'a': unknown kind 'heap'": replace(
        PROGRAM, vectors={**PROGRAM.vectors, "a": Vector("a", 1, "heap")}
    ),
    "constant 'out.bias': must be both": replace(PROGRAM, constants={}),
    "constant 'out.bias': must be float32 of shape (5,), got float64 of shape (5,)": replace(
        PROGRAM, constants={**PROGRAM.constants, "out.bias": np.zeros(5)}
    ),
    "table 'emb.weight': must be a float32 matrix": replace(
        PROGRAM, tables={"emb.weight": np.zeros((6, 3))}
    ),
    "there must be a stream 'output'": replace(
        PROGRAM, streams={"input": PROGRAM.streams["input"]}
    ),
    "stream 'a': must have its own name, a width": replace(
        PROGRAM, streams={**PROGRAM.streams, "a": Stream("a", 0)}
    ),
    "stream 'a': only the input has tokens": replace(
        PROGRAM, streams={**PROGRAM.streams, "a": Stream("a", 1, "int32", 4)}
    ),
    "states must list each state vector once": replace(PROGRAM, states={"h": ("rnn.h_l0",)}),
    "state 'hc': vectors must have one length": replace(
        PROGRAM,
        vectors={**PROGRAM.vectors, "k": Vector("k", 9, "state")},
        states={"hc": ("rnn.h_l0", "rnn.c_l0", "k")},
    ),
    "a program must have at least one pass": replace(PROGRAM, passes=()),
    # Streams.
    "read of 'ouput': no such stream": with_part(PROGRAM, reads=(("ouput", 0, "input"),)),
    "read of 'input': no vector 'nput'": with_part(PROGRAM, reads=(("input", 0, "nput"),)),
    "read of 'input': 'p' must be an input, is scratch": with_part(
        PROGRAM, reads=(("input", 0, "p"),)
    ),
    "'input' is filled twice": with_part(PROGRAM, reads=(("input", 0, "input"),) * 2),
    "elements 1..1 exceed the width 1": with_part(PROGRAM, reads=(("input", 1, "input"),)),
    "read of 'rnn/l0': not written by an earlier pass": replace(
        TWO_WAYS, passes=TWO_WAYS.passes[::-1]
    ),
    "write to 'input': no such stream": with_part(PROGRAM, writes=((P, "input", 0),)),
    "write to 'output': elements 1..5 exceed the width 5": with_part(
        PROGRAM, writes=((P, "output", 1),)
    ),
    "write to 'output': written twice": with_part(PROGRAM, writes=((P, "output", 0),) * 2),
    "stream 'output': elements 4..4 are never written": with_part(
        PROGRAM, writes=((Slice("p", 0, 4), "output", 0),)
    ),
    "state 'rnn.h_l0' is also used by pass 0": replace(
        PROGRAM,
        passes=(*PROGRAM.passes, Pass(False, (), (), (Copy(H, Slice("rnn.c_l0", 0, 4)),))),
    ),
    "(Softmax): state 'rnn.h_l0' is also used by pass 0": replace(
        PROGRAM,
        passes=(*PROGRAM.passes, Pass(False, (), (), (Softmax(Slice("p", 0, 4), H),))),
    ),
    # Slices.
    "no vector 'q'": changed(PROGRAM, Softmax, source=Slice("q", 0, 5)),
    "elements 1..5 exceed 'out', which has 5": changed(PROGRAM, Softmax, source=Slice("out", 1, 5)),
    "instruction 0 (Copy): 'p' is read before it is defined": with_code(
        PROGRAM, Copy(H, Slice("p", 0, 4)), after=0
    ),
    "'out.bias' is constant and can't be written": changed(
        PROGRAM, Softmax, destination=Slice("out.bias", 0, 5)
    ),
    "'emb' must hold a token": changed(PROGRAM, Lookup, token="emb"),
    "'input' must hold numbers": with_code(PROGRAM, Copy(Slice("p", 0, 1), Slice("input", 0, 1))),
    # Instructions.
    "(Lookup): no table 'q'": changed(PROGRAM, Lookup, table="q"),
    "the table has 6 rows for 7 tokens": replace(
        PROGRAM, streams={**PROGRAM.streams, "input": Stream("input", 1, "int32", 7)}
    ),
    "the table's 3 columns don't fit 2 elements": changed(
        PROGRAM, Lookup, destination=Slice("emb", 0, 2)
    ),
    "(MatVec): no matrix 'q'": changed(PROGRAM, MatVec, matrix="q"),
    "rows 4:20 are not among the 16": changed(PROGRAM, MatVec, row_start=4, row_stop=20),
    "'rnn.pre_ifgo_l0' must have length 12, has 16": changed(PROGRAM, MatVec, row_stop=12),
    "a source of 2 elements doesn't fit 3 columns": changed(
        PROGRAM, MatVec, source=Slice("emb", 0, 2)
    ),
    "source and destination are one vector": changed(PROGRAM, MatVec, 2, source=Slice("out", 0, 4)),
    "'out.bias' must have length 16, has 5": changed(PROGRAM, MatVec, bias="out.bias"),
    "the bias must be constant": changed(PROGRAM, MatVec, 2, bias="p"),
    "only the first product of a sum may have a bias": changed(
        PROGRAM, MatVec, 1, bias="rnn.pre_ifgo_bias_l0"
    ),
    "accumulates on 'rnn.pre_ifgo_l0', which holds no sum": changed(
        PROGRAM, MatVec, bias=None, accumulate=True
    ),
    "(LSTMGates): 'rnn.pre_ifgo_l0' must have length 12": changed(PROGRAM, LSTMGates, length=3),
    "(LSTMGates): lengths must be 4": changed(PROGRAM, LSTMGates, cell=Slice("rnn.c_l0", 0, 3)),
    "(LSTMGates): operands in 'rnn.h_l0' overlap": changed(PROGRAM, LSTMGates, cell=H),
    "(GRUGates): 'rnn.pre_n_l0' must have length 8": changed(
        GRU_PROGRAM, GRUGates, gates="rnn.pre_n_l0"
    ),
    "(GRUGates): operands in 'rnn.pre_n_l0' overlap": changed(
        GRU_PROGRAM, GRUGates, hidden_candidate="rnn.pre_n_l0"
    ),
    "(GRUGates): lengths must be 4": changed(GRU_PROGRAM, GRUGates, hidden=Slice(H.vector, 0, 1)),
    "(Softmax): lengths must agree": changed(PROGRAM, Softmax, source=Slice("out", 0, 4)),
    "(Softmax): slices overlap in part": with_code(
        PROGRAM, Softmax(Slice("p", 0, 2), Slice("p", 1, 2))
    ),
    "(Copy): slices overlap": with_code(PROGRAM, Copy(P, P)),
    "(Copy): lengths must agree": with_code(PROGRAM, Copy(H, X)),
    # Element-wise programs.
    "stores nothing": with_micro_op(2, []),
    "slices must have length 4": with_micro_op(0, [MicroOp("load", slice=X)]),
    "stores twice to": with_micro_op(2, [MicroOp("store", (1,), H)] * 2),
    "overlaps a load in part": with_code(
        PROGRAM,
        Elementwise(
            3,
            (
                MicroOp("load", slice=Slice("p", 0, 3)),
                MicroOp("store", (0,), Slice("p", 1, 3)),
            ),
        ),
    ),
    "operation 1: unknown 'cos'": with_micro_op(1, [MicroOp("cos", (0,))]),
    "operation 1: tanh needs 1 earlier value(s), got (1,)": with_micro_op(
        1, [MicroOp("tanh", (1,))]
    ),
    "operation 1: add needs 2 earlier value(s), got (0,)": with_micro_op(1, [MicroOp("add", (0,))]),
    "operation 1: tanh and its slice": with_micro_op(1, [MicroOp("tanh", (0,), H)]),
    "operation 1: numbers must be finite": with_micro_op(
        1, [MicroOp("constant", value=float("inf"))]
    ),
}


@pytest.mark.parametrize("message", CASES)
def test_problems(message):
    assert any(message in found for found in program_problems(CASES[message]))


@pytest.mark.parametrize("program", [PROGRAM, GRU_PROGRAM, RNN_PROGRAM, TWO_WAYS])
def test_lowered_programs_have_none(program):
    verify_program(program)


def test_all_problems_are_reported_at_once():
    broken = changed(changed(PROGRAM, Softmax, source=H), Lookup, table="q")
    with pytest.raises(UnsupportedModelError, match="not a valid program") as error:
        verify_program(broken)
    assert len(error.value.reasons) == 2


def mutated(value, random):
    """``value`` with one number or name somewhere in it replaced."""
    if is_dataclass(value):
        field = random.choice(fields(value)).name
        return replace(value, **{field: mutated(getattr(value, field), random)})
    if isinstance(value, tuple) and value:
        k = random.randrange(len(value))
        return (*value[:k], mutated(value[k], random), *value[k + 1 :])
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return random.choice((-1, 0, value - 1, value + 1, 4 * value, 1 << 40))
    if isinstance(value, str):
        return random.choice((*PROGRAM.vectors, *PROGRAM.matrices, "tanh", "add", "load", ""))
    return value


@settings(max_examples=300, deadline=None, derandomize=True)
@given(random=st.randoms(use_true_random=False))
def test_what_is_accepted_runs(random):
    program = random.choice((PROGRAM, GRU_PROGRAM, RNN_PROGRAM, TWO_WAYS))
    for _ in range(random.randint(1, 2)):
        program = replace(program, passes=mutated(program.passes, random))
    if not program_problems(program):
        ys, _ = run_program(program, np.array([0, 5]))
        assert ys.shape == (2, 5)
