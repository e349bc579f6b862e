from dataclasses import replace

import numpy as np
import pytest

from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import (
    Features,
    Linear,
    PackedModel,
    load,
    map_matrices,
    problems,
    quantize,
    run_reference,
    save,
    verify,
)
from csbrnn.numerics import BF16, FP32, INT8

from .models import bf16_model, int8_model, language_model


def dtypes(model):
    return {name: matrix.dtype for name, matrix in model.matrices.items()}


@pytest.mark.parametrize("precision", ["bf16", INT8])
def test_all_but_embeddings_is_quantized(precision):
    model = language_model()
    quantized = quantize(model, precision)
    name = precision if isinstance(precision, str) else precision.name
    assert dtypes(quantized) == {
        "embedding/weight": "fp32",
        "lstm/weight_ih_l0": name,
        "lstm/weight_hh_l0": name,
        "head/weight": name,
    }
    assert (model.precision, quantized.precision) == ("fp32", name)
    for key, matrix in quantized.products.items():
        exact = model.matrices[key]
        assert type(matrix) is type(exact)
        assert matrix.kept == exact.kept
        np.testing.assert_array_equal(matrix.to_dense(), matrix.precision.rounded(exact.to_dense()))
    assert quantized.pruning_rate == model.pruning_rate
    assert quantized.nbytes < model.nbytes
    assert quantized.metadata == model.metadata
    assert problems(quantized) == []


def test_include_and_keep():
    model = language_model()
    some = quantize(model, "int8", include=["*/weight_?h_l0", "emb*"], keep_fp32=["*_hh_*"])
    assert [n for n, d in dtypes(some).items() if d == "int8"] == [
        "embedding/weight",
        "lstm/weight_ih_l0",
    ]
    assert some.precision == "mixed"
    assert quantize(some, FP32, include="*").precision == "fp32"
    dotted = quantize(model, "int8", include=["*.weight_?h_l0", "emb*"], keep_fp32=["lstm.*_hh_l0"])
    assert dtypes(dotted) == dtypes(some)
    with pytest.raises(ArgumentError, match=r"keep_fp32: 'lst' fits no matrix; there are embed"):
        quantize(model, "int8", keep_fp32=["lst"])
    with pytest.raises(ArgumentError, match="one of fp32, bf16, int8"):
        quantize(model, "int4")


def test_a_shared_matrix_stays_shared():
    shared = DenseMatrix(np.ones((2, 2), np.float32))
    layers = (Linear("a", ("input",), shared), Linear("b", ("a",), shared))
    quantized = quantize(PackedModel(layers, Features(2), "b"), BF16)
    a, b = quantized.matrices.values()
    assert a is b


def test_too_many_columns_are_refused_by_name():
    wide = CSBMatrix.from_dense(np.zeros((1, 133145), np.float32), (1, 64))
    model = PackedModel((Linear("wide", ("input",), wide),), Features(133145), "wide")
    with pytest.raises(
        UnsupportedModelError, match="wide/weight has 133145 columns, more than the"
    ):
        quantize(model, "int8")
    assert quantize(model, "bf16").precision == "bf16"


def test_scales_go_with_their_matrices():
    model = quantize(language_model(), "int8")
    model = replace(model, activation_scales=dict.fromkeys(model.products, 2.0**-7))
    assert problems(model) == []
    some = quantize(model, "bf16", include=["lstm/*"])
    assert some.activation_scales == {"head/weight": 2.0**-7}


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ({"lstm/weight": 1.0}, "'lstm/weight' is no matrix in int8 that is multiplied"),
        ({"embedding/weight": 1.0}, "'embedding/weight' is no matrix in int8"),
        ({"head/weight": 0.3}, r"must be a number that scale_of\(\) makes, not 0\.3"),
        ({"head/weight": float("nan")}, "not nan"),
        ({"head/weight": 0.0}, r"not 0\.0"),
        ({"head/weight": 1}, "not 1"),
    ],
)
def test_scales_are_verified(scales, message):
    model = replace(quantize(language_model(), "int8", include="*"), activation_scales=scales)
    with pytest.raises(UnsupportedModelError, match=f"activation_scales: .*{message}"):
        verify(model)


def test_the_reference_takes_weights_for_what_they_stand_for():
    model, xs = int8_model(), np.array([1, 2, 3])
    exact = map_matrices(model, lambda _, matrix: matrix.with_precision(FP32))
    got, _ = run_reference(model, xs)
    np.testing.assert_array_equal(got, run_reference(exact, xs)[0])


@pytest.mark.parametrize("build", [int8_model, bf16_model])
def test_fp32_models_are_version_1_and_others_2(tmp_path, build):
    save(build(), tmp_path / "new")
    save(quantize(build(), "fp32", include="*"), tmp_path / "old")
    assert b'"version": 2' in (tmp_path / "new" / "config.json").read_bytes()
    old = (tmp_path / "old" / "config.json").read_bytes()
    assert b'"version": 1' in old
    assert b"activation_scales" not in old
    assert load(tmp_path / "new").activation_scales == build().activation_scales
