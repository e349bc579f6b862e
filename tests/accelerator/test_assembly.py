import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.accelerator import compile_model, format_program, parse_program
from csbrnn.accelerator.isa import ACTS, End, In, Jump, Next, Run, Vop, Wait
from csbrnn.cells import CELLS
from csbrnn.errors import ArgumentError

from .models import ARCH, cell_model

small = st.integers(0, 4095)


@st.composite
def vops(draw):
    """Vector operations without leftovers: a field that is not enabled is 0."""
    fields = {"n": draw(small), "act": draw(st.integers(0, len(ACTS) - 1))}
    for name in "aved":
        if draw(st.booleans()):
            fields |= {f"{name}_en": 1, name: draw(small)}
    fields["combine"] = draw(st.integers(0, 3))
    if fields["combine"] == 0 and fields.pop("e_en", 0):
        fields.pop("e")
    if draw(st.booleans()):
        fields |= {"drain": 1, "half": draw(st.integers(0, 1)), "row": draw(small)}
        fields["drain_shift"] = draw(st.integers(0, 31))
    if draw(st.booleans()):
        fields |= {"x_en": 1, "x": draw(small)}
    fields["out"] = draw(st.integers(0, 1))
    if fields["out"] or fields.get("x_en"):
        fields["x_shift"] = draw(st.integers(0, 7))
    return Vop(**fields)


programs = st.lists(
    vops()
    | st.builds(Run, st.integers(0, 1), st.integers(0, 7))
    | st.builds(Wait, st.integers(0, 15))
    | st.builds(In, small, small)
    | st.builds(Next, small)
    | st.builds(Jump, small, st.integers(0, 1))
    | st.just(End()),
    max_size=20,
)


@given(programs)
def test_text_and_back(program):
    assert parse_program(format_program(program)) == tuple(program)


@pytest.mark.parametrize("cell", CELLS)
def test_compiled_programs_and_back(cell):
    rng = np.random.default_rng(0)
    program = compile_model(cell_model(rng, cell, layers=2, outputs=3), ARCH).image.program
    assert parse_program(format_program(program)) == program


def test_how_it_reads():
    program = (
        In(5, 8),
        Run(1, 2),
        Wait(1),
        Vop(
            4, row=3, drain=1, half=1, drain_shift=13, v_en=1, v=7, a_en=1, a=2, act=1, d_en=1, d=9
        ),
        Vop(4, v_en=1, v=9, e_en=1, e=3, combine=3, act=2, x_en=1, x=16, x_shift=1, out=1),
        Jump(1, 1),
    )
    assert format_program(program).splitlines() == [
        "   0  in    5 -> x[8]",
        "   1  run   half 1, shift 2",
        "   2  wait  1",
        "   3  vop   4: v[9] = v[2] * sigmoid(y1[3] >> 13 + v[7])",
        "   4  vop   4: _ = v[3] - tanh(v[9]) -> x[16] >> 1, out",
        "   5  jump  1, toggle",
    ]
    commented = "; a program\n\n 0  end ; stop\n"
    assert parse_program(commented) == (End(),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1  end", "line 1: expected address 0, got '1'"),
        ("0  end\n1  stop", "line 2: not an instruction: 'stop'"),
        ("0  run half 2, shift 0", "not an instruction"),
        ("0  vop 4: v[1] = exp(v[0])", "not a vector operation"),
        ("0  vop 4: v[1] = v[2] - none(v[0]) + v[3]", "not a vector operation"),
    ],
)
def test_text_that_is_no_program(text, message):
    with pytest.raises(ArgumentError, match=message):
        parse_program(text)
