from dataclasses import replace

import numpy as np
import pytest

from csbrnn import cells
from csbrnn.bench import Case, generate
from csbrnn.cells import Stack
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, PackedModel, Recurrent, quantize, run_reference

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


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_unpruned_twin_has_no_zeros_in_any_precision(precision):
    case = token_case()
    model = case.deployed(precision, unpruned=True)

    assert model.precision == precision
    assert all((m.to_dense() != 0).all() for m in model.products.values())
    xs = case.inputs(5)
    expected, actual = (run_reference(m, xs)[0] for m in (case.model, model))
    np.testing.assert_allclose(actual, expected, atol=0.2)  # small weights do little


def test_deployed_models_are_made_once():
    case = token_case()

    assert case.deployed("fp32") is case.model
    assert case.deployed("int8") is case.deployed("int8", case.layout)
    assert case.deployed("int8").precision == "int8"


def test_a_quantized_model_is_not_rounded_again():
    model = quantize(tiny_case().model, "int8")

    assert Case("quantized", model).deployed("int8") is model


def test_several_layouts_are_one_case():
    stripes, whole = "block=16x64 row_group=16", "block=8x4 row_group=8 all-or-nothing"
    case = generate("gru512", [stripes, whole, "dense", stripes])

    assert list(case.layouts) == [stripes, whole, "dense"]
    assert case.layout == stripes
    assert case.model is case.layouts[stripes]
    assert case.deployed("fp32", whole).pruning_rate == pytest.approx(8, rel=0.01)
    assert case.is_dense


def test_no_layout():
    with pytest.raises(ArgumentError, match="at least one layout"):
        generate("sr", [])


def test_inputs_fit_the_model():
    assert tiny_case().inputs(5).shape == (5, 8)
    assert tiny_case().inputs(5).dtype == np.float32
    assert token_case().inputs(100).max() < 11
    assert token_case().inputs(100).dtype == np.int32


def test_unknown_case():
    with pytest.raises(ArgumentError, match=r"must be one of sr, mt, gru512, .*'nope'"):
        generate("nope")


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
