import pytest

from csbrnn import cells
from csbrnn.bench import (
    Case,
    UnavailableError,
    contender_csbrnn,
    csbrnn_contenders,
    generate,
    run_bench,
    supported_precisions,
)
from csbrnn.bench.contender_csbrnn import CSBRNN
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import quantize

from .fakes import tiny_case, token_case

PACKED, UNPRUNED = CSBRNN


@pytest.mark.parametrize("threads", [1, 2])
def test_pruned_and_unpruned_are_checked_and_timed(threads):
    result = run_bench(
        [token_case()], (threads,), ["csbrnn"], 0.05, modes=("step", "cold", "sequence")
    )

    if threads == 1:  # a machine may have one CPU only
        assert not result.skipped
    assert {(row.variant, row.mode) for row in result.rows} in (
        {(v, m) for v in ("as packed", "unpruned") for m in ("step", "sequence")},
        set(),
    )


@pytest.mark.parametrize("cell", cells.CELLS.values(), ids=lambda cell: cell.name)
def test_every_cell(cell):
    result = run_bench([tiny_case(cell, pruned=True)], (1,), ["csbrnn"], 0.01, modes=("step",))

    assert [row.layout for row in result.rows] == ["block=4x8 row_group=4", "dense"]


def test_unpruned_reads_more():
    case = tiny_case(pruned=True)
    with PACKED.open(case, 1) as packed, UNPRUNED.open(case, 1) as unpruned:
        assert packed.nbytes < unpruned.nbytes


def test_products_alone_are_timed_and_read_as_much():
    result = run_bench([token_case()], (1,), ["csbrnn"], 0.05, modes=("step", "matvec"))

    assert not result.skipped
    rows = {(row.variant, row.mode): row for row in result.rows}
    assert rows.keys() == {(v, m) for v in ("as packed", "unpruned") for m in ("step", "matvec")}
    assert rows["as packed", "step"].nbytes == rows["as packed", "matvec"].nbytes


def test_every_layout_in_every_precision():
    layouts = ["block=16x64 row_group=16", "block=8x4 row_group=8 all-or-nothing"]
    case = generate("gru512", layouts)
    contenders = csbrnn_contenders(supported_precisions(), case.layouts)
    result = run_bench([case], (1,), contenders, 0.05, modes=("step",))

    assert not result.skipped
    assert {(row.layout, row.precision) for row in result.rows} == {
        (layout, precision)
        for layout in (*layouts, "dense")
        for precision in supported_precisions()
    }


def test_the_engine_supports_fp32_at_least():
    assert supported_precisions()[0] == "fp32"


def test_precisions_without_kernels_are_skipped_with_the_reason(monkeypatch):
    def refuse(model, threads):
        raise UnsupportedModelError("can't compile for the CPU", ["no kernels"])

    monkeypatch.setattr(contender_csbrnn, "compile_model", refuse)
    with pytest.raises(UnavailableError, match="no kernels"), PACKED.open(tiny_case(), 1):
        pass


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_quantized_rows_answer_to_the_quantized_model(precision):
    if precision not in supported_precisions():
        pytest.skip(f"no kernels for {precision}")
    case = tiny_case(num_layers=2, pruned=True)
    result = run_bench(
        [case], (1,), csbrnn_contenders([precision]), 0.05, modes=("step", "sequence", "matvec")
    )

    assert not result.skipped
    # Far closer to its own definition than rounding moved that away from fp32.
    assert max(row.max_abs_error for row in result.rows) < 2e-3


def test_a_model_that_comes_quantized_keeps_its_scales():
    model = quantize(tiny_case().model, "bf16")
    case = Case("quantized", model)

    assert csbrnn_contenders(["bf16"])[0].model(case) is model


def test_a_dense_model_runs_once():
    with pytest.raises(UnavailableError, match="stored dense"), UNPRUNED.open(tiny_case(), 1):
        pass
