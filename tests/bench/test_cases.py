from dataclasses import replace

import numpy as np
import pytest

from csbrnn import cells
from csbrnn.bench import Case, generate, parse_layout
from csbrnn.cells import Stack
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, PackedModel, Recurrent, run_reference

from .fakes import tiny_case, token_case


def test_gru512_is_as_described():
    case = generate("gru512", "block=16x64 row_group=16")

    assert case.layout == "block=16x64 row_group=16"
    assert case.model.pruning_rate == pytest.approx(8, rel=0.01)
    assert case.model.dense_weights == 2 * 2 * 3 * 512 * 512


def test_generated_weights_keep_signals_in_range():
    case = generate("gru512")
    ys, _ = run_reference(case.model, case.inputs(20))

    # Neither dying out nor saturated: errors show, and activations are in their normal range.
    assert 0.1 < np.std(ys) < 0.9


def test_seed_decides_weights():
    a, b, c = (generate("small16", seed=seed).model.matrices for seed in (0, 0, 1))

    name = "rnn/weight_ih_l0"
    assert (a[name].to_dense() == b[name].to_dense()).all()
    assert (a[name].to_dense() != c[name].to_dense()).any()


@pytest.mark.parametrize("name", ["small16", "small64"])
def test_small_cases_are_dense(name):
    assert generate(name).is_dense
    assert generate(name).layout == "dense"


def test_layout_dense_prunes_nothing():
    assert generate("gru512", "dense").is_dense


def test_dense_twin_has_the_same_weights():
    case = token_case()

    assert not case.is_dense
    assert all(isinstance(m, DenseMatrix) for m in case.dense.matrices.values())
    xs = case.inputs(5)
    expected, actual = (run_reference(model, xs)[0] for model in (case.model, case.dense))
    assert (expected == actual).all()


def test_filled_twin_has_no_zeros_and_the_same_results():
    case = token_case()

    assert all((m.to_dense() != 0).all() for m in case.filled.matrices.values())
    xs = case.inputs(5)
    expected, actual = (run_reference(model, xs)[0] for model in (case.model, case.filled))
    np.testing.assert_allclose(actual, expected, atol=1e-10)  # sums of up to 16 of 1e-12


def test_inputs_fit_the_model():
    assert tiny_case().inputs(5).shape == (5, 8)
    assert tiny_case().inputs(5).dtype == np.float32
    assert token_case().inputs(100).max() < 11
    assert token_case().inputs(100).dtype == np.int32


def test_unknown_case():
    with pytest.raises(ArgumentError, match=r"must be one of sr, mt, gru512, .*'nope'"):
        generate("nope")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dense", None),
        ("block=16x64 row_group=16", ((16, 64), 16)),
        (" block=32x32 ", ((32, 32), 1)),
    ],
)
def test_parse_layout(text, expected):
    assert parse_layout(text) == expected


@pytest.mark.parametrize("text", ["", "16x64", "block=16", "block=16x64 row_group=x"])
def test_layout_that_can_not_be_read(text):
    with pytest.raises(ArgumentError, match="must read 'dense' or 'block=16x64 row_group=16'"):
        parse_layout(text)


@pytest.mark.parametrize("text", ["block=0x4", "block=4x4 row_group=0", "block=6x4 row_group=4"])
def test_layout_that_does_not_fit(text):
    with pytest.raises(ArgumentError, match="row_group must divide its block's rows"):
        parse_layout(text)


def test_bidirectional_models_are_refused():
    stack = Stack(cells.RNN_TANH, 2, 2, bidirectional=True)
    parameters = {
        name: DenseMatrix(np.ones(shape, np.float32)) if len(shape) == 2 else np.ones(shape, "f")
        for name, shape in stack.parameter_shapes().items()
    }
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(2), "rnn")

    with pytest.raises(ArgumentError, match="must be causal"):
        Case("both ways", model)


def test_invalid_models_are_refused():
    with pytest.raises(UnsupportedModelError, match="output must be the name of a layer"):
        Case("broken", replace(tiny_case().model, output="nowhere"))
