"""The C library without Python: other compilers, other machines, sanitizers, hostile images."""

import os
import subprocess

import numpy as np
import pytest

from csbrnn.cells import CELLS
from csbrnn.compiler import lower, run_program
from csbrnn.runtime import build_image, image

from . import models, native


def packed_models():
    """Between them, every instruction and every kind of section."""
    rng = np.random.default_rng(3)
    free = lambda r, m, n: models.csb(r, m, n, (64, 64), 1, 0.15)  # noqa: E731
    small = lambda r, m, n: models.csb(r, m, n, (32, 32), 1, 0.15)  # noqa: E731
    stripe = lambda g: lambda r, m, n: models.csb(r, m, n, (g, 32), g, 0.1)  # noqa: E731
    return {
        "dense": models.model(rng, hidden_size=21),
        "free": models.model(rng, hidden_size=100, input_size=65, make=free),
        "small": models.model(rng, CELLS["gru"], hidden_size=70, input_size=33, make=small),
        "4": models.model(rng, CELLS["gru"], hidden_size=64, input_size=64, make=stripe(4)),
        "8": models.model(rng, hidden_size=64, input_size=64, make=stripe(8)),
        "16": models.model(rng, hidden_size=64, input_size=64, make=stripe(16)),
        "2": models.model(rng, hidden_size=70, input_size=130, make=stripe(2)),
        "1": models.model(rng, CELLS["gru"], hidden_size=64, input_size=64, make=stripe(1)),
        "tokens": models.language_model(rng),
        "branches": models.branching_model(rng),
        "elementwise": models.model(rng, CELLS["lstm_peephole"], hidden_size=19),
    }


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    """Name -> (image for 1 part, for 3 parts, input file, steps, expected outputs)."""
    folder = tmp_path_factory.mktemp("images")
    found = {}
    for name, packed in packed_models().items():
        program, rng = lower(packed), np.random.default_rng(4)
        xs = models.sequence(rng, program, 6)
        integer = np.issubdtype(xs.dtype, np.integer)
        (folder / f"{name}.x").write_bytes(xs.astype("<i4" if integer else "<f4").tobytes())
        for parts in (1, 3):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(image, "CHUNK_WEIGHTS", 0)  # chunk lists also where they don't pay
                data = build_image(program, parts).data
            (folder / f"{name}.{parts}").write_bytes(data.tobytes())
        found[name] = (folder / name, run_program(program, xs)[0])
    return found


def check_run(program, cases, tmp_path, *, threads=1, isa="-", before=(), environment=None):
    isas = set()
    for base, expected in cases.values():
        output = tmp_path / "y"
        image, inputs = f"{base}.{1 if threads == 1 else 3}", f"{base}.x"
        printed = native.run(
            *before, program, image, inputs, output, 6, threads, isa, environment=environment
        )
        ys = np.fromfile(output, "<f4").reshape(expected.shape)
        np.testing.assert_allclose(ys, expected, rtol=3e-6, atol=3e-6)
        isas.add(printed.strip())
    return isas


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("flags", [("-O3",), ("-O0",), ("-O2", "-DCSBRNN_NO_SIMD")], ids=" ".join)
def test_builds_without_warnings_and_runs(compiler, flags, build, cases, tmp_path):
    program = build("harness_run.c", *flags, compiler=compiler)
    isas = check_run(program, cases, tmp_path)
    assert isas == {"baseline"} or "-DCSBRNN_NO_SIMD" not in flags
    check_run(program, cases, tmp_path, threads=3)


def test_is_part_of_a_cxx_program(tmp_path):
    native.require("g++", "cc")
    objects = []
    for source in sorted(native.SOURCES.glob("*.c")):
        objects.append(str(tmp_path / source.stem) + ".o")
        subprocess.run(["cc", "-O1", "-std=c11", "-c", source, "-o", objects[-1]], check=True)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{native.SOURCES}", "-pthread"]
    program = native.HERE / "harness_cxx.cpp"
    command = ["g++", *flags, program, *objects, "-o", tmp_path / "cxx"]
    subprocess.run(command, check=True)
    native.run(tmp_path / "cxx")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_all_but_the_pool_is_cxx_too(compiler):
    """The pool has atomics, which C and C++ spell in two ways."""
    native.require(compiler)
    flags = ["-x", "c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    sources = [source for source in native.LIBRARY if source.stem != "pool"]
    subprocess.run([compiler, *flags, *sources], check=True)


def test_the_baseline_needs_no_builtins(tmp_path):
    """As with a compiler that is neither gcc nor clang."""
    flags = ["-fgnuc-version=0", "-D__builtin_ctzll=none", "-Wno-literal-range", "-c"]
    for source in native.SOURCES.glob("*_baseline.c"):
        native.build(tmp_path / "baseline.o", source, *flags, compiler="clang")


@pytest.mark.parametrize(
    ("flags", "isa"), [(("-O2",), "neon"), (("-O2",), "baseline"), (("-DCSBRNN_NO_SIMD",), "-")]
)
def test_aarch64(flags, isa, build, cases, tmp_path):
    """Under qemu: NEON, the compiler's vectors, and plain C."""
    native.require("aarch64-linux-gnu-gcc", "qemu-aarch64")
    program = build("harness_run.c", *flags, compiler="aarch64-linux-gnu-gcc", link=("-static",))
    isas = check_run(program, cases, tmp_path, isa=isa, before=("qemu-aarch64",))
    assert isas == {isa if isa != "-" else "baseline"}
    check_run(program, cases, tmp_path, isa=isa, threads=3, before=("qemu-aarch64",))


@pytest.mark.slow
def test_hostile_images_with_address_and_undefined_behaviour_sanitizers(build, cases, tmp_path):
    flags = (*native.SANITIZE, "-fsanitize=address,undefined")
    program = build("harness_fuzz.c", *flags)
    refused = run = 0
    for seed, (base, _) in enumerate(cases.values()):
        for parts in (1, 3):
            words = native.run(program, f"{base}.{parts}", 6000, seed * 2 + parts).split()
            refused, run = refused + int(words[1]), run + int(words[3])
    # Both kinds are common, or the test tests nothing: most damage in records is refused.
    assert refused > 20_000
    assert run > 5_000


@pytest.mark.slow
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_sanitized_runs(build, cases, tmp_path, compiler):
    native.require_sanitizers(compiler, tmp_path)
    flags = (*native.SANITIZE, "-fsanitize=address,undefined")
    program = build("harness_run.c", *flags, compiler=compiler)
    for isa in ("-", "avx2", "baseline") if os.uname().machine == "x86_64" else ("-",):
        check_run(program, cases, tmp_path, isa=isa)
        check_run(program, cases, tmp_path, isa=isa, threads=3)


@pytest.mark.slow
def test_threads_with_thread_sanitizer(build, cases, tmp_path):
    program = build("harness_run.c", *native.SANITIZE, "-fsanitize=thread")
    for threads in (2, 3):
        check_run(program, cases, tmp_path, threads=threads)


FORBIDDEN = ("malloc", "calloc", "realloc", "free", "posix_memalign", "aligned_alloc", "mmap",
             "pthread_mutex_lock", "pthread_cond_wait", "pthread_create")  # fmt: skip


def test_a_step_neither_allocates_nor_locks(build, cases, tmp_path):
    wraps = [f"-Wl,--wrap={name}" for name in FORBIDDEN]
    program = build("harness_count.c", "-O2", link=wraps)
    for name, (base, _) in cases.items():
        if name == "branches":  # not causal
            continue
        assert native.run(program, f"{base}.1", 1, 0) == "0\n"
        assert native.run(program, f"{base}.3", 3, 0) == "0\n"
    # The counter counts: one malloc, one free and one lock for each instruction set.
    assert int(native.run(program, f"{base}.1", 1, 1)) in range(3, 16, 3)
