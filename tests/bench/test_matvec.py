from dataclasses import replace

import numpy as np
import pytest

from csbrnn import cells
from csbrnn.bench import UnavailableError, matvec, supported_precisions
from csbrnn.bench.matvec import matvec_step, products_alone
from csbrnn.compiler import MatVec, lower, program_problems
from csbrnn.model import Activation, quantize

from .fakes import tiny_case, token_case


@pytest.mark.parametrize("cell", [cells.LSTM, cells.GRU, cells.LIGRU])
def test_products_and_nothing_else_are_left(cell):
    program = lower(tiny_case(cell, num_layers=2).model)
    alone = products_alone(program)

    assert not program_problems(alone)
    assert {type(i) for i in alone.passes[0].instructions} == {MatVec}
    whole = [i for i in program.passes[0].instructions if isinstance(i, MatVec)]
    assert list(alone.passes[0].instructions) == whole
    assert alone.matrices is program.matrices


def test_a_product_of_a_result_can_not_run_alone():
    case = tiny_case(cells.LSTM_PROJECTION)  # projects what its gates give

    assert products_alone(lower(case.model)) is None
    assert matvec_step(case.model, 1, case.inputs(1)[0]) is None


def test_an_output_that_is_left_out():
    model = tiny_case().model
    layers = (*model.layers, Activation("out", ("rnn",), "tanh"))

    assert products_alone(lower(replace(model, layers=layers, output="out"))) is None


@pytest.mark.parametrize("precision", supported_precisions())
@pytest.mark.parametrize("case", [tiny_case(num_layers=2, pruned=True), token_case()])
def test_a_step_runs_again_and_again(case, precision):
    step = matvec_step(quantize(case.model, precision), 1, case.inputs(1)[0])

    first = step().copy()
    assert (step() == first).all()  # no state changes


def test_wrong_products_are_refused(monkeypatch):
    case = tiny_case()

    def wrong(program, xs, states):
        return np.full((1, program.streams["output"].width), 1.0), states

    monkeypatch.setattr(matvec, "run_program", wrong)
    with pytest.raises(UnavailableError, match="gives wrong products: off by"):
        matvec_step(case.model, 1, case.inputs(1)[0])
