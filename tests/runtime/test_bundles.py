"""Bundles in fp32 and bf16, on every instruction set, whether it would choose them or not."""

import numpy as np
import pytest

from csbrnn.compiler import lower
from csbrnn.formats import CSBMatrix
from csbrnn.model import quantize
from csbrnn.runtime import Engine, available_isas, layout, tiling, tilings
from csbrnn.runtime.costs import Costs

from . import models
from .test_many import assert_same_bits, small_chunks
from .test_precision import DAMAGE, OF_BUNDLES, assert_refused, products

ISAS = available_isas()


@pytest.fixture
def rng():
    return np.random.default_rng(17)


@pytest.fixture(params=[8, 4, 2, 1])
def group(request, monkeypatch):
    """Makes bundles of strips of so many rows the cheapest way to tile any matrix."""
    monkeypatch.setattr(tiling, "GROUPS", (request.param,))
    costs = Costs({16: 1e6}, 1e6, bundle=1, line={64: 1, 128: 1}, block=1e6, block_tile=1e6)
    monkeypatch.setattr(tilings, "COSTS", dict.fromkeys(("fp32", "bf16"), costs))
    return request.param


@pytest.fixture(params=[64, 128])
def reach(request, monkeypatch):
    monkeypatch.setattr(tiling, "REACHES", (request.param,))
    return request.param


def ragged(rng, rows, columns, group):
    """Strips that keep nothing, that keep much, and that run ahead of the others."""
    weight = models.csb(rng, rows, columns, (group, 32), group, 0.1).to_dense()
    weight[:group] = 0
    weight[group : 2 * group, columns // 2 :] = 0
    weight[2 * group : 3 * group] = rng.uniform(-1, 1, weight[2 * group : 3 * group].shape)
    return CSBMatrix.from_dense(weight, (group, 32), group)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("isa", ISAS)
def test_they_agree_with_the_interpreter(isa, precision, group, reach, rng):
    make = lambda rng, rows, columns: ragged(rng, rows, columns, group)  # noqa: E731
    for hidden, inputs in ((128, 150), (130, 2 * reach), (136, reach)):
        packed = models.model(rng, input_size=inputs, hidden_size=hidden, make=make)
        program = lower(packed if precision == "fp32" else quantize(packed, precision))
        assert models.kinds(program, isa) == {("bundles", group)}
        for threads in (1, 3):
            models.assert_right(Engine(program, threads, isa), rng)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("isa", ISAS)
def test_their_bits_depend_neither_on_threads_nor_on_streams(
    isa, precision, group, rng, monkeypatch
):
    small_chunks(monkeypatch)
    make = lambda rng, rows, columns: ragged(rng, rows, columns, group)  # noqa: E731
    packed = models.model(rng, input_size=70, hidden_size=100, make=make)
    program = lower(packed if precision == "fp32" else quantize(packed, precision))
    assert ("bundles", group) in models.kinds(program, isa)
    xs = models.sequence(rng, program, 4)
    expected = Engine(program, 1, isa)(xs)[0]
    for threads in (2, 3):
        engine = Engine(program, threads, isa)
        np.testing.assert_array_equal(engine(xs)[0], expected)
        for batch in (None, 1, 3, 6):
            assert_same_bits(engine, rng, batch)


def test_rows_of_gates_that_begin_within_a_strip(rng):
    """Of a stacked matrix of three gates the last begins at row 2 H: in a strip, if H is odd."""
    for hidden in (65, 66, 67, 68):
        for height in (8, 4, 2, 1):
            make = lambda r, m, n, g=height: models.csb(r, m, n, (g, 64), g, 0.1)  # noqa: E731
            packed = models.model(rng, models.CELLS["gru"], hidden_size=hidden, make=make)
            for threads in (1, 2):
                models.assert_right(models.engine_of(packed, threads=threads), rng)


def test_operands_narrower_than_a_line_reaches_are_looked_up_otherwise(group, rng):
    program = lower(products(rng, ragged(rng, 64, 63, group), precision=None))
    assert not any(kind == "bundles" for kind, _ in models.kinds(program))


@pytest.mark.parametrize(
    ("precision", "rows"), [("fp32", (1, 2)), ("bf16", (1, 2, 4, 8))], ids=["fp32", "bf16"]
)
def test_thin_stripes_are_bundled_whatever_runs_them(precision, rows, rng):
    """Tiles of one matrix for every instruction set, or exports would not give an engine's bits."""
    for height in (1, 2, 4, 8, 16):
        weight = models.csb(rng, 512, 512, (height, 64), height, 1 / 16)
        program = lower(products(rng, weight, precision=precision))
        for isa in ("avx512_vnni", "avx2", None):
            kinds = models.kinds(program, isa)
            assert kinds == {("bundles" if height in rows else "strips", height)}


@pytest.mark.parametrize("precision", [None, "bf16"])
@pytest.mark.parametrize("damage", [d for d in OF_BUNDLES if d != "a row beyond the sums"])
def test_damaged_ones_are_refused(damage, precision, rng):
    assert_refused(rng, 4, "bundles", layout.BUNDLE_HEAD, *DAMAGE[damage], precision)


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [
        ("head", "lines", 1 << 20),
        ("head", "row", 61),
        ("section", "group", 3),
        ("section", "group", 16),
        ("section", "source_length", 50),
    ],
)
def test_what_no_kernel_can_read_is_refused(where, field, value, rng):
    assert_refused(rng, 4, "bundles", layout.BUNDLE_HEAD, where, field, value, None)
