"""``csbrnn bench``, from arguments to the result file."""

import json

import pytest
from typer.testing import CliRunner

from csbrnn.bench import supported_precisions
from csbrnn.bench.contender_csbrnn import Csbrnn
from csbrnn.cli import app
from csbrnn.errors import ArgumentError, CsbrnnError
from csbrnn.model import quantize, save

from .fakes import tiny_case

STRIPES, WHOLE = "block=16x64 row_group=16", "block=8x4 row_group=8 all-or-nothing"


def call(*arguments):
    return CliRunner().invoke(
        app, ["bench", *map(str, arguments), "--seconds", "0.1", "--threads", "1"]
    )


def bench(path, *arguments):
    result = call(*arguments, "--contender", "csbrnn", "--json", path)
    assert result.exit_code == 0, result.output
    return json.loads(path.read_text())["rows"]


def test_layouts_and_precisions(tmp_path):
    rows = bench(
        tmp_path / "result.json",
        *("gru512", "--layout", STRIPES, "--layout", WHOLE, "--precision", "fp32"),
    )

    assert {(r["layout"], r["precision"], r["mode"]) for r in rows} == {
        (layout, "fp32", mode)
        for layout in (STRIPES, WHOLE, "dense")
        for mode in ("step", "matvec")
    }


def test_every_precision_of_the_engine_by_default(tmp_path):
    rows = bench(tmp_path / "result.json", "small16", "--mode", "step")

    assert {(r["precision"], r["mode"]) for r in rows} == {
        (precision, "step") for precision in supported_precisions()
    }


@pytest.mark.parametrize("precision", supported_precisions())
def test_a_packed_model_in_its_own_precision(tmp_path, precision):
    save(quantize(tiny_case(pruned=True).model, precision), tmp_path / "model")
    rows = bench(tmp_path / "result.json", tmp_path / "model", "--mode", "step")

    assert {r["case"] for r in rows} == {"model"}
    wanted = supported_precisions() if precision == "fp32" else (precision,)
    assert {r["precision"] for r in rows} == set(wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sr", "--contender", "tvm"), "a contender must be one of csbrnn, pytorch, .* 'tvm'"),
        (("small16", "--precision", "int3"), "a precision must be one of .* 'int3'"),
        (("small16", "--mode", "warm"), "modes must be some of step, sequence, cold, matvec"),
        (("small16", "--layout", "square"), "a layout must read"),
    ],
)
def test_wrong_names(arguments, message):
    error = call(*arguments).exception

    assert isinstance(error, ArgumentError)
    with pytest.raises(ArgumentError, match=message):
        raise error


def test_a_packed_model_has_its_own_layout(tmp_path):
    save(tiny_case().model, tmp_path / "model")
    error = call(tmp_path / "model", "--layout", "dense").exception

    assert isinstance(error, ArgumentError)
    assert "has its own" in str(error)


def test_csbrnn_itself_must_not_fail(tmp_path, monkeypatch):
    case = tiny_case()
    save(case.model, tmp_path / "model")
    arguments = (tmp_path / "model", "--contender", "csbrnn", "--precision", "fp32")
    assert call(*arguments).exit_code == 0
    monkeypatch.setattr(Csbrnn, "tolerance", -1.0)
    result = call(*arguments, "--json", tmp_path / "result.json")
    assert isinstance(result.exception, CsbrnnError)
    assert "csbrnn itself failed in fp32 with 1 threads: gives wrong" in str(result.exception)
    assert all(s["failed"] for s in json.loads((tmp_path / "result.json").read_text())["skipped"])
