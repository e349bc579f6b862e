"""Matrices in int8 and bf16: products to the last bit, networks closely; also in C alone."""

import os
from dataclasses import replace

import numpy as np
import pytest

from csbrnn.cells import CELLS
from csbrnn.compiler import lower, run_program
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, quantize
from csbrnn.numerics import INT8, scale_of
from csbrnn.runtime import Engine, available_isas, build_image, layout, tiling_int8
from csbrnn.runtime import tilings as runtime_tilings
from csbrnn.runtime.costs import COSTS
from csbrnn.runtime.library import library
from csbrnn.runtime.tiling_int8 import DEFAULT_COSTS
from csbrnn.runtime.tilings import Tilings
from csbrnn.runtime.unsummed import Unsummed

from . import models, native

ISAS = available_isas()
#: (block, row group): stripes, groups of rows, free rows, single rows, blocks wider than a mask.
PATTERNS = {
    "stripes16": ((16, 64), 16),
    "stripes8": ((8, 32), 8),
    "stripes4": ((4, 64), 4),
    "groups4": ((64, 64), 4),
    "free64": ((64, 64), 1),
    "free32": ((32, 32), 1),
    "free4": ((4, 4), 1),
    "rows": ((1, 16), 1),
    "wide": ((64, 200), 1),
}


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def products(rng, *weights, bias=True, precision="int8"):
    """A model that is a sum of products and nothing else: what must be exact to the last bit."""
    layers = []
    for k, weight in enumerate(weights):
        rows = weight.shape[0]
        value = rng.standard_normal(rows).astype(np.float32) if bias else None
        layers.append(Linear(f"l{k}", ("input",), weight, value))
    model = PackedModel(tuple(layers), Features(weights[0].shape[1]), layers[-1].name)
    return quantize(model, precision) if precision else model


def assert_exact(model, xs, *, threads=(1, 2, 5), isas=ISAS):
    program = lower(model)
    expected, _ = run_program(program, xs, dtype=np.float32)
    for isa in isas:
        for count in threads:
            got, _ = Engine(program, count, isa)(xs)
            # Bits, since 0 == -0; NaN has many.
            same = (got.view(np.uint32) == expected.view(np.uint32)) | np.isnan(expected)
            assert same.all(), (isa, count, np.argwhere(~same)[:5])
            np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    return program


@pytest.mark.parametrize("density", [0.02, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_products_are_exact(pattern, density, rng):
    block, group = PATTERNS[pattern]
    for _ in range(4):
        rows, columns = (int(n) for n in rng.integers(1, (200, 400)))
        weight = models.csb(rng, rows, columns, block, group, density)
        xs = rng.standard_normal((3, columns)).astype(np.float32)
        assert_exact(products(rng, weight, bias=rng.random() < 0.7), xs)


def test_between_them_they_use_every_kind_of_section(rng):
    seen = set()
    for block, group in PATTERNS.values():
        weight = models.csb(rng, 128, 600, block, group, 0.07)
        xs = rng.standard_normal((1, 600)).astype(np.float32)
        seen |= models.kinds(assert_exact(products(rng, weight), xs, threads=(1,)))
    seen |= models.kinds(lower(products(rng, models.dense(rng, 64, 64))))
    wanted = {("dense", 16), ("scale", 16), ("strips", 16), *(("bundles", g) for g in (1, 4, 8))}
    assert wanted <= seen
    assert len({g for kind, g in seen if kind == "blocks"}) >= 4


def test_scattered_columns_run_dense_where_looking_them_up_takes_longer(rng, monkeypatch):
    monkeypatch.setattr(runtime_tilings, "DEFAULT_COSTS", DEFAULT_COSTS)
    weight = rng.normal(0, 1, (64, 512)) * (rng.random((64, 512)) < 1 / 8)
    program = lower(products(rng, DenseMatrix(weight.astype(np.float32))))
    kind = {
        isa: models.kinds(program, isa) - {("scale", 16)} for isa in ("avx512_vnni", "avx2", None)
    }
    assert kind == {"avx512_vnni": {("bundles", 1)}, "avx2": {("dense", 16)}, None: {("dense", 16)}}


@pytest.mark.parametrize("shape", [(1, 1), (16, 4), (17, 5), (64, 64), (130, 129), (33, 3000)])
def test_dense_products_are_exact(shape, rng):
    xs = rng.standard_normal((3, shape[1])).astype(np.float32)
    assert_exact(products(rng, models.dense(rng, *shape)), xs)


@pytest.fixture(params=[("strips", 16), ("strips", 8), *(("bundles", g) for g in (16, 8, 4, 2, 1))],
                ids=lambda param: f"{param[0]}-{param[1]}")  # fmt: skip
def only_strips(request, monkeypatch):
    """Makes strips of one kind and group the only ones that matrices are cut into."""
    kind, group = request.param
    monkeypatch.setattr(tiling_int8, "_GROUPS", {kind: (group,)})
    cost = tiling_int8._Strips.cost
    monkeypatch.setattr(tiling_int8._Strips, "cost", lambda *a, **b: cost(*a, **b) - 1e9)
    return kind, group


@pytest.mark.parametrize("width", [30, 128, 200, 330, 3000])
def test_strips_of_any_width_and_reach(only_strips, width, rng):
    """Columns far apart and side by side, strips that run ahead of the others of their set."""
    kind, group = only_strips
    weight = models.csb(rng, 21 * group, width, (group, 64), group, 0.08)
    dense = weight.to_dense()
    dense[group : 2 * group, : width // 2] = 0
    dense[2 * group : 3 * group, :] = rng.normal(0, 1, (group, width)) * (dense[0] != 0)
    weight = CSBMatrix.from_dense(dense, (group, 64), group)
    program = assert_exact(products(rng, weight), rng.standard_normal((2, width)).astype("f4"))
    assert models.kinds(program) == {(kind, group), ("scale", 16)}


@pytest.mark.parametrize("hidden", [20, 37, 70])
def test_strips_that_gates_and_threads_cut_short(only_strips, hidden, rng):
    """What a short strip stores beyond its rows belongs to the next one, which must come later."""
    packed = models.model(rng, make=lambda rng, *shape: models.csb(rng, *shape, (8, 16), 8, 0.3),
                          input_size=40, hidden_size=hidden, num_layers=2)  # fmt: skip
    program, xs = lower(quantize(packed, "int8")), rng.standard_normal((4, 40)).astype(np.float32)
    assert only_strips in models.kinds(program)
    for isa in ISAS:
        expected = Engine(program, 1, isa)(xs)[0]
        for threads in (2, 3):
            np.testing.assert_array_equal(Engine(program, threads, isa)(xs)[0], expected)
        pair = Engine(program, 1, isa)(np.stack([xs, xs[::-1]], axis=1))[0]
        np.testing.assert_array_equal(pair[:, 0], expected)
        np.testing.assert_allclose(expected, run_program(program, xs)[0], atol=0.02)


def test_extreme_sums(rng):
    """Everything at its limit: u8 operands leave int32 on the way, and come back."""
    for sign in (1, -1):
        weight = DenseMatrix(np.full((20, 133144), sign, np.float32))
        assert_exact(products(rng, weight), np.ones((1, 133144), np.float32), threads=(1,))


@pytest.mark.parametrize(
    "value",
    [np.nan, np.inf, -np.inf, 1e38, 3.4e38, 1e-37, 127 * 2.0**-125, 2.0**-126, 1e-42, 0.0, -0.0],
)
@pytest.mark.parametrize("pattern", ["stripes16", "stripes4", "free64", "rows"])
def test_special_inputs_have_defined_results(pattern, value, rng):
    weight = models.csb(rng, 70, 130, *PATTERNS[pattern], 0.1)
    xs = np.zeros((2, 130), np.float32)
    xs[:, 129] = value
    xs[1, :100] = rng.standard_normal(100)
    for model in (products(rng, weight), products(rng, weight, bias=False)):
        assert_exact(model, xs, threads=(1, 3))
        static = replace(model, activation_scales={"l0/weight": float(scale_of(3))})
        assert_exact(static, xs, threads=(1, 3))


def test_empty_rows_add_a_positive_zero(rng):
    weight = np.zeros((40, 30), np.float32)
    weight[7, 3] = 1
    for matrix in (CSBMatrix.from_dense(weight, (8, 8)), DenseMatrix(weight)):
        layer = Linear("out", ("input",), matrix, np.full(40, -0.0, np.float32))
        model = quantize(PackedModel((layer,), Features(30), "out"), "int8")
        assert_exact(model, rng.standard_normal((2, 30)).astype(np.float32))
        got = Engine(lower(model)).step(np.ones(30, np.float32))[0]
        assert not np.signbit(got).any()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell(cell, precision, isa, rng):
    """bf16: as fp32. int8: a last bit in a gate may move a q by one, 1 / 254 of the largest value
    of an operand; weights are about 0.3, so sums move by less than 1e-2 over four steps."""
    makes = (models.dense, lambda r, m, n: models.csb(r, m, n, (16, 16), 4, 0.3))
    for make, threads in zip(makes, (1, 3), strict=True):
        packed = models.model(rng, CELLS[cell], hidden_size=37, num_layers=2, make=make)
        engine = models.engine_of(quantize(packed, precision), isa=isa, threads=threads)
        tolerance = 2e-6 if precision == "bf16" else 1e-2
        models.assert_right(engine, rng, tolerance=tolerance)
        models.assert_right(engine, rng, batch=3, tolerance=tolerance)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_bf16_patterns(pattern, isa, rng, monkeypatch):
    weight = models.csb(rng, 150, 170, *PATTERNS[pattern], 0.1)
    model = products(rng, weight, precision="bf16")
    for threads in (1, 3):
        models.assert_right(Engine(lower(model), threads, isa), rng)
    fp32, nbytes = lower(products(rng, weight, precision=None)), Engine(lower(model)).nbytes
    if pattern == "free32":  # its blocks take longer in bf16 than strips, which take more bytes
        assert models.kinds(lower(model)) == {("strips", 16)}
        monkeypatch.setattr(runtime_tilings, "COSTS", {"fp32": COSTS["bf16"]})  # strips, too
        assert models.kinds(fp32) == {("strips", 16)}
    assert nbytes < Engine(fp32).nbytes


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("shape", [(1, 1), (16, 2), (17, 5), (64, 64), (130, 129), (150, 301)])
def test_bf16_dense_products(shape, isa, rng):
    """Panels of four strips and single ones, of an even number of columns and of an odd one."""
    model = products(rng, models.dense(rng, *shape), precision="bf16")
    assert models.kinds(lower(model)) == {("dense", 16)}
    for threads in (1, 3):  # weights and operands of order one
        engine = Engine(lower(model), threads, isa)
        models.assert_right(engine, rng, tolerance=1e-5)
        models.assert_right(engine, rng, batch=5, tolerance=1e-5)


@pytest.mark.parametrize("isa", ISAS)
def test_bf16_strips_begin_at_cache_lines(isa, rng):
    """They have an even number of columns. The one that is repeated for it does no harm."""
    weight = models.csb(rng, 160, 170, *PATTERNS["stripes16"], 0.05)
    dense = weight.to_dense()
    dense[:, 130:] = 0
    dense[0:16, 130] = 2.0**-100 * rng.standard_normal(16)  # of two strips the last one
    dense[32:48, 130] = 1.0
    weight = CSBMatrix.from_dense(dense, (16, 64), 16)
    model = products(rng, weight, precision="bf16")
    program = lower(model)
    assert models.kinds(program) == {("strips", 16)}
    columns = (dense != 0).reshape(10, 16, 170).any(axis=1).sum(axis=1)
    assert columns.any()
    assert (columns % 2).any()
    (product,) = (code for part in program.passes for code in part.instructions)
    (section,) = Tilings(program, 1, Unsummed(program, 1)).sections(product, 0)
    assert (section.heads["tiles"] % 2 == 0).all()
    assert section.heads["tiles"].sum() == (columns + columns % 2).sum()
    models.assert_right(Engine(program, isa=isa), rng)
    models.assert_right(Engine(program, isa=isa), rng, batch=5)
    xs = rng.standard_normal((1, 170)).astype(np.float32)
    xs[0, 130] = np.inf
    got, _ = Engine(program, isa=isa)(xs)
    assert (np.abs(got[0, 0:16]) == np.inf).all()
    assert (got[0, 32:48] == np.inf).all()


@pytest.mark.parametrize("isa", ISAS)
def test_precisions_mix_in_one_sum(isa, rng):
    packed = models.model(rng, CELLS["gru"], hidden_size=40, num_layers=2)
    packed = quantize(packed, "int8", keep_fp32=["rnn/weight_hh_l0"])
    engine = models.engine_of(packed, isa=isa, threads=2)
    assert {m.precision.name for m in engine.program.matrices.values()} == {"fp32", "int8"}
    models.assert_right(engine, rng, tolerance=1e-2)


def test_sequences_are_steps_and_isas_agree(rng):
    """Every product is exact, but gates differ by instruction set: only threads must not."""
    packed = quantize(models.model(rng, hidden_size=64, input_size=16), "int8")
    program, xs = lower(packed), rng.standard_normal((20, 16)).astype(np.float32)
    for isa in ISAS:
        expected = Engine(program, 1, isa)(xs)[0]
        np.testing.assert_array_equal(Engine(program, 3, isa)(xs)[0], expected)
        stream = Engine(program, 2, isa).stream()
        for x, y in zip(xs, expected, strict=True):
            np.testing.assert_array_equal(stream.step(x), y)


def test_an_operand_is_quantized_once_and_again_when_it_changes(rng):
    """Two products of x share an operand, two of h another, which changes from step to step."""
    program = lower(quantize(models.model(rng, CELLS["gru"], hidden_size=20), "int8"))
    image = build_image(program, 2).data
    place = image[: layout.HEADER.itemsize].view(layout.HEADER)[0]["instructions"]
    start = int(place["offset"])
    records = image[start : start + int(place["count"]) * layout.INSTRUCTION.itemsize]
    opcodes = records.view(layout.INSTRUCTION)["opcode"].tolist()
    assert opcodes.count(layout.OPCODES["product"]) == 4
    assert opcodes.count(layout.OPCODES["quantize"]) == 2


def test_images_hold_one_byte_a_weight(rng):
    weight = models.csb(rng, 512, 1024, (16, 64), 16, 1 / 13.5)
    model = products(rng, weight)
    assert model.matrices["l0/weight"].precision is INT8
    # Weights, column numbers (9.5 of each line's 16 used), scale and sum of a row, heads, records.
    assert Engine(lower(model)).nbytes < 1.4 * weight.kept + 4096


# The C library alone.


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Name -> (image for 1 and for 3 parts, input, expected output) of exact models."""
    rng = np.random.default_rng(6)
    folder = tmp_path_factory.mktemp("images")
    weights = {n: models.csb(rng, 150, 210, *p, 0.1) for n, p in PATTERNS.items()}
    weights |= {"dense": models.dense(rng, 70, 53)}
    found = {}
    for name, weight in weights.items():
        program = lower(products(rng, weight))
        xs = rng.standard_normal((6, weight.shape[1])).astype(np.float32)
        xs[4, 2] = np.inf
        (folder / f"{name}.x").write_bytes(xs.tobytes())
        for parts in (1, 3):
            (folder / f"{name}.{parts}").write_bytes(build_image(program, parts).data.tobytes())
        found[name] = (folder / name, run_program(program, xs, dtype=np.float32)[0])
    return found


def check_run(program, cases, tmp_path, *, isa="-", before=()):
    for threads in (1, 3):
        for base, expected in cases.values():
            output = tmp_path / "y"
            image = f"{base}.{threads}"
            native.run(*before, program, image, f"{base}.x", output, 6, threads, isa)
            ys = np.fromfile(output, "<f4").reshape(expected.shape)
            np.testing.assert_array_equal(ys, expected)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    # Without -std=c11 or -ffp-contract=off, compilers may fuse multiplications and additions.
    "flags",
    [("-O3",), ("-O0",), ("-O2", "-DCSBRNN_NO_SIMD"), ("-O3", "-std=gnu11", "-ffp-contract=fast")],
    ids=" ".join,
)
def test_compilers_agree_to_the_last_bit(compiler, flags, build, cases, tmp_path):
    program = build("harness_run.c", *flags, compiler=compiler)
    plain = "-DCSBRNN_NO_SIMD" in flags
    for isa in ("-",) if plain else ISAS:
        check_run(program, cases, tmp_path, isa=isa)


@pytest.mark.parametrize("isa", ["neon_dot", "neon", "baseline"])
def test_aarch64_agrees_to_the_last_bit(isa, build, cases, tmp_path):
    native.require("aarch64-linux-gnu-gcc", "qemu-aarch64")
    compiler = "aarch64-linux-gnu-gcc"
    program = build("harness_run.c", "-O2", compiler=compiler, link=("-static",))
    check_run(program, cases, tmp_path, isa=isa, before=("qemu-aarch64",))


@pytest.mark.slow
def test_sanitizers(build, cases, tmp_path):
    flags = (*native.SANITIZE, "-fsanitize=address,undefined")
    program = build("harness_run.c", *flags)
    for isa in ISAS if os.uname().machine == "x86_64" else ("-",):
        check_run(program, cases, tmp_path, isa=isa)


@pytest.mark.slow
def test_hostile_images(build, cases, tmp_path):
    flags = (*native.SANITIZE, "-fsanitize=address,undefined")
    program = build("harness_fuzz.c", *flags)
    refused = run = 0
    for seed, (base, _) in enumerate(cases.values()):
        for parts in (1, 3):
            words = native.run(program, f"{base}.{parts}", 3000, seed * 2 + parts).split()
            refused, run = refused + int(words[1]), run + int(words[3])
    assert refused > 5_000
    assert run > 5_000


def test_records_are_those_of_the_header_file(tmp_path):
    records = {
        "csbrnn_quad_head": layout.QUAD_HEAD,
        "csbrnn_bundle_head": layout.BUNDLE_HEAD,
        "csbrnn_int8_block": layout.INT8_BLOCK,
    }
    asserts = [
        f'_Static_assert(offsetof({name}, {field}) == {dtype.fields[field][1]}, "{name}.{field}");'
        for name, dtype in records.items()
        for field in dtype.names
    ]
    asserts += [f'_Static_assert(sizeof({n}) == {d.itemsize}, "{n}");' for n, d in records.items()]
    names = {f"CSBRNN_{k.upper()}": v for k, v in layout.DTYPES.items()}
    names |= {"CSBRNN_LINE_COLUMNS": layout.LINE_COLUMNS}
    asserts += [f'_Static_assert({name} == {value}u, "{name}");' for name, value in names.items()]
    sizes = "".join(
        f"csbrnn_operand_floats({n}) == {layout.operand_floats(n)} && " for n in (0, 1, 64, 65, 999)
    )
    source = tmp_path / "check.c"
    source.write_text(
        '#include "image.h"\n' + "\n".join(asserts) + f"\nint main(void) {{ return !({sizes}1); }}"
    )
    native.run(native.build(tmp_path / "check", source))


DAMAGE = {
    "a line beyond the operand": ("start", "", 60),
    "a number beyond the reach": ("number", "", 128),
    "a reach that no kernel has": ("section", "windows", 3),
    "fewer lines than tiles take": ("section", "columns", 1),
    "a row beyond the sums": ("head", "row", 1 << 20),
    "more tiles than there are": ("head", "tiles", 1 << 20),
    "sums that are not memory": ("section", "sums", 1 << 30),
    "an operand that is not memory": ("section", "source", 1 << 30),
    "a column beyond the memory": ("section", "column", 1 << 30),
    "a constant as operand": ("section", "source", 1 << 31),
    "an unknown precision": ("section", "dtype", 3),
    "an unknown kind": ("section", "kind", 9),
    "scales of more rows": ("scale", "count", 10_000),
    "a stride too small": ("instruction", "d", 15),
    "operands that are not memory": ("instruction", "a", 1 << 30),
}


OF_BUNDLES = (
    "a line beyond the operand",
    "a number beyond the reach",
    "a reach that no kernel has",
    "fewer lines than tiles take",
    "a row beyond the sums",
)


@pytest.mark.parametrize("damage", OF_BUNDLES)
def test_damaged_bundles_are_refused(damage, rng):
    assert_refused(rng, 4, "bundles", layout.BUNDLE_HEAD, *DAMAGE[damage])


@pytest.mark.parametrize(
    ("where", "field", "value"),
    [("head", "lines", 1 << 20), ("section", "group", 3), ("section", "group", 32)],
)
def test_bundles_that_no_kernel_has_are_refused(where, field, value, rng):
    assert_refused(rng, 4, "bundles", layout.BUNDLE_HEAD, where, field, value)


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_images_are_refused(damage, rng):
    assert_refused(rng, 16, "strips", layout.QUAD_HEAD, *DAMAGE[damage])


def assert_refused(rng, group, kind, head, where, field, value, precision="int8"):
    """That an image is, which has a section of this kind, once it is damaged."""
    weight = models.csb(rng, 64, 120, (group, 64), group, 0.2)
    program = lower(products(rng, weight, precision=precision))
    original = build_image(program, isa="avx512_vnni").data
    start = -(original.ctypes.data) % 64
    image = np.zeros(original.nbytes + 128, np.uint8)
    start = -image.ctypes.data % 64
    image = image[start : start + original.nbytes]
    image[...] = original
    check = library().csbrnn_image_check
    assert check(image.ctypes.data, image.nbytes) == 0
    header = image[: layout.HEADER.itemsize].view(layout.HEADER)[0]

    def records(place, count, dtype):
        return image[int(place) : int(place) + int(count) * dtype.itemsize].view(dtype)

    sections = records(*header["sections"].tolist()[:2], layout.SECTION)
    section = sections[sections["kind"] == layout.SECTION_KINDS[kind]][0]
    lines = int(section["columns"])
    if where == "section":
        sections[field][0] = value
    elif where == "scale":
        sections[field][1] = value
    elif where == "instruction":
        records(*header["instructions"].tolist()[:2], layout.INSTRUCTION)[field][0] = value
    elif where == "head":
        records(section["heads"], section["count"], head)[field][0] = value
    elif where == "start":
        numbers = (64 if precision == "int8" else 32) * lines
        records(section["indices"] + numbers, lines, np.dtype("<u2"))[0] = value
    else:
        image[int(section["indices"])] = value
    assert check(image.ctypes.data, image.nbytes) != 0
