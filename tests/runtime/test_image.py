import subprocess
from itertools import pairwise

import numpy as np
import pytest

from csbrnn.compiler import lower
from csbrnn.runtime import build_image, layout
from csbrnn.runtime.buffers import aligned
from csbrnn.runtime.library import library

from . import models, native
from .test_native import packed_models


def check(data):
    return library().csbrnn_image_check(data.ctypes.data, data.nbytes)


@pytest.mark.parametrize("parts", [1, 2, 7])
def test_every_image_passes_the_check(parts):
    for packed in packed_models().values():
        assert check(build_image(lower(packed), parts).data) == 0


def test_images_are_reproducible():
    images = [build_image(lower(packed_models()["free"]), 2).data for _ in range(2)]
    np.testing.assert_array_equal(*images)


def test_the_check_refuses_what_is_not_an_image():
    image = build_image(lower(packed_models()["dense"])).data
    copy = aligned(image.nbytes + 64)
    copy[: image.nbytes] = image
    assert check(copy[: image.nbytes]) == 0
    assert check(copy) != 0  # longer than it says
    for nbytes in (0, 8, 191, 192, 256, image.nbytes - 1):
        assert check(copy[:nbytes]) != 0
    shifted = aligned(image.nbytes + 64)[4 : 4 + image.nbytes]
    shifted[...] = image
    assert check(shifted) != 0  # not aligned
    for field, value in (("version", 2), ("magic", b"csbrnn\n"), ("parts", 0), ("parts", 257)):
        damaged = copy[: image.nbytes].copy()
        place = aligned(image.nbytes)
        place[...] = damaged
        place[: layout.HEADER.itemsize].view(layout.HEADER)[field] = value
        assert check(place) != 0
    assert library().csbrnn_image_check(None, 0) != 0


def test_ten_thousand_damaged_images_are_refused_or_valid():
    """The check never crashes; `test_native` runs what it accepts, under sanitizers."""
    rng = np.random.default_rng(11)
    images = [build_image(lower(packed), 2).data for packed in packed_models().values()]
    verdicts = []
    for n in range(10_000):
        image = images[n % len(images)]
        damaged = aligned(image.nbytes)
        damaged[...] = image
        for at in rng.integers(0, min(image.nbytes, 4096), rng.integers(1, 4)):
            damaged[at] = rng.integers(0, 256)
        verdicts.append(check(damaged))
    assert set(verdicts) == {0, 1}


def test_records_are_those_of_the_header_file(tmp_path):
    """Sizes of the NumPy dtypes and of the C structures agree, field by field."""
    records = {
        "csbrnn_header": layout.HEADER,
        "csbrnn_stream": layout.STREAM,
        "csbrnn_pass": layout.PASS,
        "csbrnn_move": layout.MOVE,
        "csbrnn_instruction": layout.INSTRUCTION,
        "csbrnn_span": layout.SPAN,
        "csbrnn_section": layout.SECTION,
        "csbrnn_strip_head": layout.STRIP_HEAD,
        "csbrnn_block_head": layout.BLOCK_HEAD,
        "csbrnn_operation": layout.OPERATION,
    }
    asserts = [
        f'_Static_assert(offsetof({name}, {field}) == {dtype.fields[field][1]}, "{name}.{field}");'
        for name, dtype in records.items()
        for field in dtype.names
    ]
    asserts += [
        f'_Static_assert(sizeof({name}) == {dtype.itemsize}, "{name}");'
        for name, dtype in records.items()
    ]
    names = {
        **{f"CSBRNN_{k.upper()}": v for k, v in (layout.OPCODES | layout.SECTION_KINDS).items()},
        **{f"CSBRNN_OP_{k.upper()}": v for k, v in layout.OPERATIONS.items()},
        "CSBRNN_BARRIER": layout.BARRIER,
        "CSBRNN_ACCUMULATE": layout.ACCUMULATE,
        "CSBRNN_LOG": layout.LOG,
        "CSBRNN_EVERY": layout.EVERY,
        "CSBRNN_VERSION": layout.VERSION,
        "CSBRNN_SLOTS": layout.SLOTS,
        "CSBRNN_STRIP": layout.STRIP,
        "CSBRNN_LINE": layout.LINE,
        "CSBRNN_NONE": layout.NONE,
        "CSBRNN_CONSTANT": layout.CONSTANT,
    }
    asserts += [f'_Static_assert({name} == {value}u, "{name}");' for name, value in names.items()]
    source = tmp_path / "layout_check.c"
    source.write_text('#include "image.h"\n' + "\n".join(asserts) + "\nint main(void){return 0;}\n")
    native.build(tmp_path / "layout", source)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sizes_that_files_claim_do_not_wrap_on_32_bits(compiler, tmp_path):
    """Left to the optimiser: a machine of 32 bits, or its C library, need not be at hand."""
    native.require(compiler)
    source = tmp_path / "wraps.c"
    source.write_text("""
        #include "image.h"
        void wraps(void) __attribute__((error("a size wraps")));
        void check(void);
        void check(void) {
            if (csbrnn_lines_nbytes(1u << 31, 2) != (uint64_t)66 << 31) wraps();
            if (csbrnn_lines_nbytes(UINT32_MAX, 8) != (uint64_t)74 * UINT32_MAX) wraps();
        }
    """)
    (tmp_path / "empty.c").write_text("typedef int empty;\n")
    flags = ("-m32", "-O1", "-ffreestanding", "-c")
    command = [compiler, *flags, "empty.c", "-o", "empty.o"]
    if subprocess.run(command, cwd=tmp_path, check=False, capture_output=True).returncode:
        pytest.skip(f"{compiler} has no -m32")
    native.build(tmp_path / "wraps.o", source, *flags, compiler=compiler)


def test_padding_a_strip_is_exact():
    from csbrnn.runtime.sharing import share_last

    for wide in (1, 2, 4):
        for counts in ([1], [3, 5, 2], [4, 4], [7, 1, 6]):
            strip = np.repeat(np.arange(len(counts)), counts)
            column = np.arange(strip.size) * 3
            strips, columns, shares = share_last(strip, column, wide)
            assert (np.bincount(strips) % wide == 0).all()
            sums = np.zeros(column.max() + 1)
            np.add.at(sums, columns, shares)
            np.testing.assert_array_equal(sums[column], 1)
            assert (np.log2(shares) % 1 == 0).all()


def test_shares_are_balanced_and_whole_strips():
    from csbrnn.runtime.tiling import balance

    rng = np.random.default_rng(0)
    for rows in (1, 16, 17, 100, 4096):
        load = rng.uniform(0, 200, rows) * np.linspace(0, 2, rows)
        for parts in (1, 2, 3, 8, 40):
            bounds = balance([load], parts)
            assert bounds[0] == 0
            assert bounds[-1] == rows
            assert (np.diff(bounds) >= 0).all()
            assert all(b % 16 == 0 or b == rows for b in bounds)
            shares = [load[a:b].sum() for a, b in pairwise(bounds)]
            # A cut is at most half a strip of the heaviest rows from where it should be.
            assert max(shares) <= load.sum() / parts + 16 * load.max() + 8 * rows


def test_equal_programs_of_other_sizes_have_other_state_layouts():
    rng = np.random.default_rng(0)
    layouts = [build_image(lower(models.model(rng, hidden_size=h))).states for h in (20, 20, 21)]
    assert layouts[0].fingerprint == layouts[1].fingerprint != layouts[2].fingerprint
