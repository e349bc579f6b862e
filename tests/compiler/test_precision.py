"""Programs of models in bf16 and int8: products, calibration, the report."""

import random
from dataclasses import replace

import numpy as np
import pytest

from csbrnn.cells import CELLS, GRU_RESET_BEFORE, LSTM, Stack
from csbrnn.compiler import (
    MatVec,
    calibrate,
    format_program,
    lower,
    precision_report,
    program_problems,
    run_program,
)
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix
from csbrnn.model import Features, Linear, PackedModel, Recurrent, quantize, run_reference
from csbrnn.numerics import int8_product, scale_of

from .models import RandomCell, flat, matrix, random_states, recurrent, sequence, single, values


def classifier(seed=0, cell=LSTM):
    """A recurrent layer and a linear one, with biases."""
    rng = np.random.default_rng(seed)
    layers = (
        recurrent(rng, "rnn", "input", Stack(cell, 6, 16, num_layers=2)),
        Linear("out", ("rnn",), matrix(rng, 5, 16), values(rng, 5)),
    )
    return PackedModel(layers, Features(6), "out")


def mat_vecs(program):
    return [i for p in program.passes for i in p.instructions if isinstance(i, MatVec)]


@pytest.mark.parametrize("scale", [None, float(scale_of(1))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_one_product_is_exact(scale, dtype, bias):
    rng = np.random.default_rng(0)
    weight = CSBMatrix.from_dense(values(rng, (8, 12)) * (rng.random((8, 1)) < 0.6), (4, 4))
    layer = Linear("out", ("input",), weight, values(rng, 8) if bias else None)
    model = quantize(PackedModel((layer,), Features(12), "out"), "int8")
    model = replace(model, activation_scales={} if scale is None else {"out/weight": scale})
    xs = rng.standard_normal((3, 2, 12))
    got, _ = run_program(lower(model), xs, dtype=dtype)
    stored = model.matrices["out/weight"]
    product = int8_product(*stored.to_quantized(), xs.astype(dtype), scale)
    expected = product + (layer.bias if bias else np.float32(0))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected.astype(dtype))


def test_sums_of_products_are_rounded_one_by_one():
    """``(bias + W x) + U h`` in fp32, each product with the scale of its operand."""
    rng = np.random.default_rng(1)
    model = quantize(single(rng, CELLS["rnn_relu"], input_size=7, hidden_size=5), "int8")
    x, h = rng.standard_normal((1, 7)).astype("f4"), rng.random((1, 5)).astype("f4")
    got, _ = run_program(lower(model), x, {"rnn.h": h}, dtype=np.float32)
    layer = model.layers[0]
    assert isinstance(layer, Recurrent)
    w, u = (layer.parameters[f"weight_{n}_l0"].to_quantized() for n in ("ih", "hh"))
    bias = (layer.parameters["bias_ih_l0"] + layer.parameters["bias_hh_l0"]).astype("f4")
    expected = (bias + int8_product(*w, x)) + int8_product(*u, h)
    np.testing.assert_array_equal(got, np.maximum(expected, 0))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_without_quantized_activations_it_is_the_reference(seed, precision):
    rng = np.random.default_rng(seed)
    cell = RandomCell(random.Random(seed)).cell()
    layer = recurrent(rng, "rnn", "input", Stack(cell, 5, 4, 3 if "proj" in cell.dimensions else 0))
    model = quantize(PackedModel((layer,), Features(5), "rnn"), precision)
    xs, states = sequence(rng, model), random_states(rng, model)
    expected, _ = run_reference(model, xs, states)
    got, _ = run_program(lower(model), xs, flat(states), quantize_activations=False)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", [LSTM, CELLS["gru"], GRU_RESET_BEFORE])
def test_calibration_finds_the_largest_operands(cell):
    model = quantize(classifier(cell=cell), "int8", keep_fp32=["rnn/weight_hh_l1"])
    xs = np.random.default_rng(0).uniform(-3, 3, (20, 4, 6))
    calibrated = calibrate(model, xs)
    assert calibrated.activation_scales.keys() == model.products.keys() - {"rnn/weight_hh_l1"}
    scales = calibrated.activation_scales
    assert scales["rnn/weight_ih_l0"] == scale_of(np.abs(xs).max())
    hidden, _ = run_reference(replace(model, output="rnn"), xs)
    assert scales["out/weight"] == scale_of(np.abs(hidden).max())
    assert 0 < scales["rnn/weight_hh_l0"] <= scale_of(1)
    program = lower(calibrated)
    static = {c.matrix: c.activation_scale for c in mat_vecs(program)}
    assert static == {n.replace("/", "."): scales.get(n) for n in model.products}
    assert f"out.weight @ rnn.h_l1 / {scales['out/weight']:g}" in format_program(program)
    assert "out.weight        5x16   dense  int8" in format_program(program)


def test_calibration_needs_something_to_measure():
    model = quantize(classifier(), "int8")
    with pytest.raises(ArgumentError, match="at least one step"):
        calibrate(model, np.zeros((0, 6)))
    with pytest.raises(ArgumentError, match="'rnn/weight_ih_l0' is multiplied with finite"):
        calibrate(model, np.full((2, 6), np.nan))
    # The state before the first step is zero: that says nothing about its scale.
    one_step = calibrate(model, np.ones((1, 6)))
    assert "rnn/weight_hh_l0" not in one_step.activation_scales
    assert "rnn/weight_ih_l0" in one_step.activation_scales


def test_calibration_leaves_other_precisions_alone():
    assert calibrate(quantize(classifier(), "bf16"), np.ones((2, 6))).activation_scales == {}


def test_static_scales_hold_beyond_the_sample_by_saturating():
    model = PackedModel(
        (Linear("out", ("input",), matrix(np.random.default_rng(0), 2, 3)),), Features(3), "out"
    )
    program = lower(calibrate(quantize(model, "int8"), np.ones((1, 3))))
    near, _ = run_program(program, np.full((1, 3), 1.0))
    far, _ = run_program(program, np.full((1, 3), 100.0))
    np.testing.assert_array_equal(near, far)


@pytest.mark.parametrize(
    ("precision", "scale", "message"),
    [
        ("bf16", 1.0, "bf16 products have no activation_scale"),
        ("int8", 0.1, "0.1 is not a scale"),
        ("int8", 0.0, "0.0 is not a scale"),
    ],
)
def test_scales_are_verified(precision, scale, message):
    program = lower(quantize(classifier(), precision))
    (part,) = program.passes
    code = tuple(
        replace(i, activation_scale=scale)
        if isinstance(i, MatVec) and i.matrix == "out.weight"
        else i
        for i in part.instructions
    )
    (problem,) = program_problems(replace(program, passes=(replace(part, instructions=code),)))
    assert message in problem


def test_nan_in_one_stream_stays_there():
    program = lower(quantize(classifier(), "int8"))
    xs = np.random.default_rng(0).standard_normal((4, 2, 6))
    alone, _ = run_program(program, xs[:, 1])
    xs[1, 0, 3] = np.inf
    ys, states = run_program(program, xs)
    assert np.isfinite(ys[0, 0]).all()
    assert np.isnan(ys[1:, 0]).all()
    assert np.isnan(states["rnn.h"][:, 0]).all()
    np.testing.assert_allclose(ys[:, 1], alone)


def test_report():
    model, xs = classifier(), np.random.default_rng(0).standard_normal((30, 2, 6))
    sample = np.random.default_rng(1).standard_normal((100, 6))
    report = precision_report(model, xs, sample=sample)
    assert [(c.precision, c.static) for c in report] == [
        ("fp32", False),
        ("bf16", False),
        ("int8", False),
        ("int8", True),
        ("fixed16", False),
        ("fixed12", False),
    ]
    exact, bf16, dynamic, static, fixed16, fixed12 = report
    assert (exact.largest_error, exact.mean_error, exact.same_choice) == (0, 0, 1)
    assert exact.nbytes > bf16.nbytes > dynamic.nbytes == static.nbytes
    # Weights here have 8 bits, so bf16 holds them exactly.
    assert bf16.largest_error == 0
    for cost in (dynamic, static):
        assert 0 < cost.mean_error < cost.largest_error < 0.05 * cost.reference_rms
        assert 0.9 < cost.same_choice <= 1
    assert fixed16.largest_error == fixed12.largest_error == 0  # for the same reason


def test_static_scales_are_those_of_the_sample():
    model, xs = classifier(), np.random.default_rng(0).standard_normal((30, 6))
    (dynamic,) = precision_report(model, xs, precisions=["int8"])
    _, static = precision_report(model, xs, sample=xs / 100, precisions=["int8"])
    assert static.mean_error > 3 * dynamic.mean_error  # most inputs are beyond the scale


def test_report_against_labels_of_the_caller():
    model, xs = classifier(), np.ones((3, 6))
    (cost,) = precision_report(model, xs, np.zeros((3, 5)), precisions=["fp32"])
    ys, _ = run_program(lower(model), xs)
    assert cost.largest_error == np.abs(ys).max()
    assert cost.reference_rms == 0
    with pytest.raises(ArgumentError, match=r"the outputs, \(3, 5\), and at least one, not \(2,\)"):
        precision_report(model, xs, np.zeros(2))
