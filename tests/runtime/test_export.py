"""An export is the engine itself: built by other compilers, in other ways, for other machines."""

import json
import platform
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from csbrnn import cli
from csbrnn.cells import CELLS
from csbrnn.compiler import lower
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.model import Features, PackedModel, quantize, save
from csbrnn.runtime import Engine, available_isas, compile, layout
from csbrnn.runtime.export import export_c, exportable_isas, exported_sources
from csbrnn.runtime.export.folder import MANIFEST
from csbrnn.runtime.export.names import identifier
from csbrnn.runtime.export.sources import source
from csbrnn.runtime.export.templates import array_words
from csbrnn.runtime.image import build_image

from . import models, native

STEPS = 7
STRICT = [*native.STRICT, "-ffp-contract=off", "-fno-pie"]
LINK = ["-no-pie"]
COMPILERS = ("gcc", "clang", "aarch64-linux-gnu-gcc", "g++", "clang++")

#: What an export may need of a C library. __cpu_model is gcc's own, and tells instruction sets.
LIBC = {"memcpy", "memset", "memmove", "memcmp", "strcmp"}
COMPILER_OWN = {"__cpu_model", "_GLOBAL_OFFSET_TABLE_"}

DRIVER = """
#include <stdio.h>
#include <string.h>
#include "NAME.h"
static NAME_state state, other; /* `other` goes on from what was saved of `state` */
static NAME_input x[STEPS][UPPER_INPUT_SIZE];
static float y[UPPER_OUTPUT_SIZE];
EXTRA
static int steps(NAME_state *s, int first, int last) {
    for (int k = first; k < last; k++) {
        if (NAME_step(s, INPUT, y)) return 1;
        fwrite(y, sizeof y, 1, stdout);
    }
    return 0;
}
int main(void) {
    if (fread(x, sizeof x, 1, stdin) != 1) return 2;
    if (INIT(&state) || INIT(&other)) return 3;
    fprintf(stderr, "%s", NAME_isa(&state));
    if (steps(&state, 0, STEPS)) return 4;
    if (NAME_reset(&state) || steps(&state, 0, 3)) return 5;
    memcpy(other.memory, state.memory, UPPER_SAVED_NBYTES);
    memset(state.memory, 255, sizeof state.memory);
    return steps(&other, 3, STEPS);
}
"""
LOAD = """
#include <stdlib.h>
UPPER_ALIGNED static unsigned char weights[UPPER_FLASH_NBYTES];
static NAME_error load(NAME_state *s) {
    FILE *f = fopen("NAME.bin", "rb");
    if (!f || fread(weights, sizeof weights, 1, f) != 1) exit(9);
    fclose(f);
    return NAME_init(s, weights, sizeof weights);
}
"""


OPEN = """
#include <stdio.h>
#include "csbrnn.h"
static _Alignas(64) unsigned char image[1 << 20];
int main(void) {
    csbrnn_model model;
    printf("%d", csbrnn_open(&model, image, fread(image, 1, sizeof image, stdin), NULL));
    return 0;
}
"""


def packed_models():
    """Between them every instruction, and every way in which weights are tiled."""
    rng = np.random.default_rng(11)
    free = lambda r, m, n: models.csb(r, m, n, (64, 64), 1, 0.15)  # noqa: E731
    stripes = lambda r, m, n: models.csb(r, m, n, (8, 32), 8, 0.1)  # noqa: E731
    return {
        "floats": models.model(rng, hidden_size=21),
        "stripes": models.model(rng, hidden_size=64, input_size=40, make=stripes),
        "free": models.model(rng, CELLS["gru"], hidden_size=70, input_size=33, make=free),
        "tokens": models.language_model(rng),
        "elementwise": models.model(rng, CELLS["lstm_peephole"], hidden_size=19),
        "int8": quantize(models.model(rng, hidden_size=70, input_size=33, make=free), "int8"),
    }


@pytest.fixture(scope="module")
def packed():
    return packed_models()


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Compiles the runtime's exported files, once for each compiler; name -> object file."""
    done = {}

    def get(compiler):
        if compiler not in done:
            native.require(compiler)
            folder = tmp_path_factory.mktemp("objects")
            for file in exported_sources():
                (folder / file).write_bytes(source(file))
            for file in folder.glob("*.c"):
                sh(compiler, "-O3", *strict(compiler), "-c", file.name, cwd=folder)
            done[compiler] = {file.stem: file for file in folder.glob("*.o")}
        return done[compiler]

    return get


def strict(compiler):
    """Its flags; what follows is C11, or with a compiler of C++ the same files as C++17."""
    return ["-x", "c++", "-std=c++17", *STRICT[1:]] if compiler.endswith("++") else STRICT


def sh(*command, cwd, stdin=None):
    """Runs a command; its outputs as bytes. Fails, with what it printed, where it fails."""
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout.decode()}{done.stderr.decode()}"
    return done


def inputs(program):
    xs = models.sequence(np.random.default_rng(5), program, STEPS)
    return np.ascontiguousarray(xs, "<i4" if program.streams["input"].dtype == "int32" else "<f4")


def drive(export, program, objects, compiler, *, before=()):
    """Builds an export with a driver; (its outputs of two sequences, its instruction set)."""
    token = program.streams["input"].dtype == "int32"
    binary = f"{export.name}.bin" in export.files
    text = DRIVER.replace("EXTRA", LOAD if binary else "")
    text = text.replace("INPUT,", "x[k][0]," if token else "x[k],")
    text = text.replace("INIT", "load" if binary else "NAME_init").replace("STEPS", str(STEPS))
    text = text.replace("NAME", export.name).replace("UPPER", export.name.upper())
    (export.folder / "driver.c").write_text(text)
    own = ["driver.c", f"{export.name}.c"]
    own += [f for f in export.files if f == "csbrnn_left_out.c"]
    shared = [o for stem, o in objects(compiler).items() if f"{stem}.c" in export.files]
    static = ["-static"] if before else []
    sh(compiler, "-O3", *strict(compiler), *own, "-x", "none", *shared, *LINK, *static,
       "-o", "driver", cwd=export.folder)  # fmt: skip
    done = sh(*before, "./driver", cwd=export.folder, stdin=inputs(program).tobytes())
    return np.frombuffer(done.stdout, "<f4").reshape(2, STEPS, -1), done.stderr.decode()


# The same bits.


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_code_for_other_formats_is_left_out(compiler, precision, packed, tmp_path):
    """All of it from the folder: the same bits, and an image in another format is refused."""
    native.require(compiler)
    models = {p: quantize(packed["stripes"], p) for p in ("fp32", "bf16", "int8")}
    export = export_c(models[precision], tmp_path / "c", name="m", weights="binary")

    def everything(_):  # objects of this folder's files, which have a configuration of their own
        for file in export.folder.glob("*.c"):
            if file.name not in ("main.c", "m.c", "driver.c"):
                sh(compiler, "-O1", *strict(compiler), "-c", file.name, cwd=export.folder)
        return {o.stem: o for o in export.folder.glob("*.o")}

    program = lower(models[precision])
    got, isa = drive(export, program, everything, compiler)
    assert isa == compile(models[precision]).isa
    for ys in got:
        assert ys.tobytes() == compile(models[precision])(inputs(program))[0].tobytes()
    (export.folder / "open.c").write_text(OPEN)
    objects = [o for o in export.folder.glob("*.o") if o.stem not in ("m", "driver")]
    sh(compiler, "-O1", "open.c", *objects, *LINK, "-o", "open", cwd=export.folder)
    for other, model in models.items():
        image = build_image(lower(model)).data
        answer = sh("./open", cwd=export.folder, stdin=image.tobytes()).stdout.decode()
        assert (answer == "0") == (other == precision), (other, answer)


@pytest.mark.parametrize(
    ("name", "weights"),
    [("floats", "array"), ("floats", "binary"), ("stripes", "array"), ("free", "array"),
     ("tokens", "array"), ("tokens", "binary"), ("elementwise", "array"), ("int8", "array")],
)  # fmt: skip
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_gives_the_engines_bits(name, compiler, weights, packed, objects, tmp_path):
    engine = compile(packed[name], isa=available_isas()[0])
    export = export_c(packed[name], tmp_path / "c", name=name, weights=weights)
    ys, isa = drive(export, engine.program, objects, compiler)
    expected = engine(inputs(engine.program))
    assert isa == engine.isa
    assert ys[0].tobytes() == expected[0].tobytes()
    assert ys[1].tobytes() == expected[0].tobytes()  # after a reset, and through a saved state


@pytest.mark.parametrize("isas", [None, ["baseline"]])
@pytest.mark.parametrize(
    ("name", "weights"), [("free", "array"), ("tokens", "binary"), ("int8", "array")]
)
@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_all_of_it_is_cxx_too(compiler, name, weights, isas, packed, objects, tmp_path):
    engine = compile(packed[name], isa=(isas or available_isas())[0])
    export = export_c(packed[name], tmp_path / "c", name=name, weights=weights, isas=isas)
    ys, isa = drive(export, engine.program, objects, compiler)
    assert isa == engine.isa
    assert ys[1].tobytes() == engine(inputs(engine.program))[0].tobytes()


@pytest.mark.parametrize("isa", available_isas())
def test_one_instruction_set_alone_gives_its_engines_bits(isa, packed, objects, tmp_path):
    engine = compile(packed["free"], isa=isa)
    export = export_c(packed["free"], tmp_path / "c", isas=[isa])
    kernels = [f for f in export.files if f.startswith("kernels_") and f.endswith(".c")]
    assert kernels == [f"kernels_{isa}.c"]
    ys, used = drive(export, engine.program, objects, "gcc")
    assert used == isa
    assert ys[1].tobytes() == engine(inputs(engine.program))[0].tobytes()


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_is_close_to_the_engine_with_fast_math(compiler, packed, tmp_path):
    """-Ofast may reorder sums, but must leave alone what depends on rounding."""
    native.require(compiler)
    built = tmp_path / "objects"
    built.mkdir()
    for file in exported_sources(["baseline"]):
        (built / file).write_bytes(source(file))
    sh(compiler, "-Ofast", "-fno-pie", "-c", *(f.name for f in built.glob("*.c")), cwd=built)
    shared = {file.stem: file for file in built.glob("*.o")}
    for name, model in packed.items():
        engine = compile(model, isa="baseline")
        export = export_c(model, tmp_path / name, isas=["baseline"])
        ys, _ = drive(export, engine.program, lambda _: shared, compiler)
        # 3e-7 of the largest output here, 4; no conversion to int8 happens to be a tie.
        expected, _ = engine(inputs(engine.program))
        np.testing.assert_allclose(ys[1], expected, rtol=0, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("isas", [None, ["baseline"]])
@pytest.mark.parametrize("name", ["free", "tokens"])
def test_is_close_to_the_engine_on_aarch64(name, isas, packed, objects, tmp_path):
    native.require("qemu-aarch64")
    engine = compile(packed[name])
    export = export_c(engine.program, tmp_path / "c", isas=isas)
    ys, isa = drive(
        export, engine.program, objects, "aarch64-linux-gnu-gcc", before=["qemu-aarch64"]
    )
    assert isa == ("baseline" if isas else "neon_dot")
    expected, _ = engine(inputs(engine.program))
    # Both round in their own order: see models.assert_right.
    np.testing.assert_allclose(ys[1], expected, rtol=4e-6, atol=4e-6)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="asks an x86-64 for NEON")
def test_a_machine_without_any_of_the_instruction_sets_is_told(packed, objects, tmp_path):
    export = export_c(packed["floats"], tmp_path / "c", isas=["neon"])
    with pytest.raises(AssertionError):  # exit status 3: init has failed
        drive(export, lower(packed["floats"]), objects, "gcc")
    done = subprocess.run(["./driver"], cwd=export.folder, input=bytes(10**4), check=False)
    assert done.returncode == 3


# Building.


def example(folder, program, line, *, before=()):
    return sh(*before, program, cwd=folder, stdin=line.encode()).stdout.decode()


def engine_lines(model, xs):
    ys, _ = compile(model)(xs)
    return "".join(" ".join(f"{y:.9g}" for y in row) + "\n" for row in ys)


@pytest.mark.parametrize("weights", ["array", "binary"])
@pytest.mark.parametrize("name", ["floats", "tokens"])
def test_example_as_c_and_cxx(name, weights, packed, objects, tmp_path):
    """A program in C++17 of a library in C."""
    native.require("g++", "clang++")
    export = export_c(packed[name], tmp_path, name=name, weights=weights)
    shared = objects("gcc").values()
    sh("gcc", *STRICT, "-O1", "-c", f"{name}.c", cwd=tmp_path)
    for compiler in ("gcc", "g++", "clang++", "clang"):
        sh(compiler, *strict(compiler), "main.c", "-x", "none", f"{name}.o", *shared,
           *LINK, "-o", f"{compiler}.out", cwd=tmp_path)  # fmt: skip
        if name == "tokens":
            xs, text = np.array([3, 0, 36]), "3\n\n0\n+36"
        else:
            xs = np.array([[1, -0.5, 3e-9, 0, 2], [1e30, 7, -8, 0.1, 0.2]], np.float32)
            text = "1 -.5,3e-9,0 2\n  \n1e30,7,-8\t0.1 .2\n"
        assert example(tmp_path, f"./{compiler}.out", text) == engine_lines(packed[name], xs)
    assert export.name == name


def test_make_cmake_and_plain_cc_build_the_example(packed, tmp_path):
    native.require("make", "cmake")
    export_c(packed["tokens"], tmp_path, name="Words 2", isas=["baseline", "avx2"])
    expected = engine_lines(packed["tokens"], np.array([5, 5]))
    built = []
    sh("cc", "-O1", *sorted(p.name for p in tmp_path.glob("*.c")), "-o", "plain", cwd=tmp_path)
    built.append("./plain")
    sh("cmake", "-B", "build", "-DCMAKE_C_FLAGS=-Werror", "-DCMAKE_BUILD_TYPE=Debug", cwd=tmp_path)
    sh("cmake", "--build", "build", cwd=tmp_path)
    built.append("build/Words_2")
    sh("make", "CFLAGS=-O1 -Werror", "all", cwd=tmp_path)
    assert (tmp_path / "libWords_2.a").exists()
    built.append("./Words_2")
    for program in built:
        got = example(tmp_path, program, "5\n5\n").split()
        np.testing.assert_allclose(np.float32(got), np.float32(expected.split()), rtol=1e-5)
    sh("make", "clean", cwd=tmp_path)
    assert not list(tmp_path.glob("*.o"))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_needs_no_heap_and_little_of_the_c_library(compiler, packed, objects, tmp_path):
    export = export_c(packed["elementwise"], tmp_path, name="m", isas=["baseline"])
    everything = list(objects(compiler).values())
    sh(compiler, "-O3", *strict(compiler), "-c", "m.c", "csbrnn_left_out.c", cwd=tmp_path)
    for files in (["m.o", *everything], ["m.o", "csbrnn_left_out.o", *(
        o for o in everything if f"{o.stem}.c" in export.files)]):  # fmt: skip
        symbols = [
            line.split() for line in sh("nm", *files, cwd=tmp_path).stdout.decode().splitlines()
        ]
        defined = {s[2] for s in symbols if len(s) == 3}
        needed = {s[1] for s in symbols if len(s) == 2 and s[0] == "U"}
        assert needed - defined <= LIBC | COMPILER_OWN
        # No variables either.
        assert not {s[2] for s in symbols if len(s) == 3 and s[1] in "bBDC"}


@pytest.mark.parametrize("weights", ["array", "binary"])
@pytest.mark.parametrize("name", ["floats", "tokens"])
def test_warnings_of_any_compiler(name, weights, packed, tmp_path):
    """Of what is written for the model; the fixture `objects` does so for the runtime's files."""
    export_c(packed[name], tmp_path, weights=weights, isas=["neon"])
    files = ["model.c", "main.c", "csbrnn_left_out.c"]
    for compiler in COMPILERS:
        native.require(compiler)
        sh(compiler, *strict(compiler), "-Wpedantic", "-fsyntax-only", *files, cwd=tmp_path)


# What can go wrong on the device.


def check_c(export, body, objects):
    """Runs statements of C, each of which must hold."""
    text = (
        f'#include <string.h>\n#include "{export.name}.h"\nint main(void) {{\n{body}\nreturn 0; }}'
    )
    (export.folder / "check.c").write_text(
        text.replace("CHECK(", "if (!(").replace("); //", ")) return __LINE__; //")
    )
    native.require("gcc")
    sh("gcc", *STRICT, "-O1", "check.c", f"{export.name}.c", *objects("gcc").values(),
       *LINK, "-o", "check", cwd=export.folder)  # fmt: skip
    sh("./check", cwd=export.folder)


def test_errors_of_a_token_model(packed, objects, tmp_path):
    export = export_c(packed["tokens"], tmp_path)
    check_c(export, """
        static model_state state, zero;
        float y[MODEL_OUTPUT_SIZE], again[MODEL_OUTPUT_SIZE];
        CHECK(sizeof state == MODEL_STATE_NBYTES); //
        CHECK(model_step(&state, 0, y) == MODEL_BAD_ARGUMENT); //
        CHECK(model_reset(&state) == MODEL_BAD_ARGUMENT); //
        CHECK(model_isa(&state) == NULL && model_isa(NULL) == NULL); //
        CHECK(model_init(NULL) == MODEL_BAD_ARGUMENT); //
        CHECK(model_init(&state) == MODEL_OK); //
        CHECK(model_step(&state, 0, NULL) == MODEL_BAD_ARGUMENT); //
        CHECK(model_step(NULL, 0, y) == MODEL_BAD_ARGUMENT); //
        CHECK(memcmp(state.memory, zero.memory, MODEL_SAVED_NBYTES) == 0); //
        CHECK(model_step(&state, -1, y) == MODEL_BAD_TOKEN); //
        CHECK(model_step(&state, MODEL_VOCABULARY, y) == MODEL_BAD_TOKEN); //
        CHECK(memcmp(state.memory, zero.memory, MODEL_SAVED_NBYTES) == 0); //
        CHECK(model_step(&state, MODEL_VOCABULARY - 1, y) == MODEL_OK); //
        CHECK(memcmp(state.memory, zero.memory, MODEL_SAVED_NBYTES) != 0); //
        CHECK(model_reset(&state) == MODEL_OK); //
        CHECK(model_step(&state, MODEL_VOCABULARY - 1, again) == MODEL_OK); //
        CHECK(memcmp(y, again, sizeof y) == 0); //
    """, objects)  # fmt: skip


def test_weights_that_are_not_this_models_are_refused(packed, objects, tmp_path):
    export = export_c(packed["floats"], tmp_path / "c", weights="binary")
    other = export_c(packed["elementwise"], tmp_path / "other", weights="binary")
    mine, foreign = ((e.folder / "model.bin").read_bytes() for e in (export, other))
    assert mine == bytes(Engine(lower(packed["floats"])).image)
    arrays = "".join(
        f"static MODEL_ALIGNED uint64_t {name}[] = {{\n"
        f"{array_words(np.frombuffer(data, np.uint8))}}};\n"
        for name, data in (("mine", mine), ("foreign", foreign))
    )
    check_c(export, f"""{arrays}
        static model_state state;
        const float x[MODEL_INPUT_SIZE] = {{0}};
        float y[MODEL_OUTPUT_SIZE];
        CHECK(model_init(&state, NULL, 0) == MODEL_BAD_WEIGHTS); //
        CHECK(model_init(&state, mine, sizeof mine - 64) == MODEL_BAD_WEIGHTS); //
        CHECK(model_init(&state, mine + 1, sizeof mine - 8) == MODEL_BAD_WEIGHTS); //
        CHECK(model_init(&state, mine, sizeof mine) == MODEL_OK); //
        CHECK(model_init(&state, foreign, sizeof foreign) == MODEL_BAD_WEIGHTS); //
        CHECK(model_step(&state, x, y) == MODEL_BAD_ARGUMENT); //
        CHECK(model_init(&state, mine, sizeof mine) == MODEL_OK); //
        CHECK(model_step(&state, NULL, y) == MODEL_BAD_ARGUMENT); //
        CHECK(model_step(&state, x, y) == MODEL_OK); //
        mine[0] = 0;
        CHECK(model_init(&state, mine, sizeof mine) == MODEL_BAD_WEIGHTS); //
    """, objects)  # fmt: skip


@pytest.mark.parametrize("name", ["tokens", "floats"])
def test_weights_for_another_kind_of_input_are_refused(name, packed, objects, tmp_path):
    """Valid images, which differ from the model's in nothing else."""
    one = models.model(np.random.default_rng(0), input_size=1)
    model, inputs = {
        "tokens": (packed["tokens"], [{"token": 0, "bound": 0}, {"bound": 30}]),
        "floats": (one, [{"token": 1, "bound": 37}]),
    }[name]
    export = export_c(model, tmp_path, weights="binary")
    mine = np.fromfile(tmp_path / "model.bin", np.uint8)
    start = int(mine[: layout.HEADER.itemsize].view(layout.HEADER)["streams"]["offset"][0])
    images = {"mine": mine, "whole": mine.copy()}  # not causal: needs whole sequences
    images["whole"][: layout.HEADER.itemsize].view(layout.HEADER)["causal"] = 0
    for number, changed in enumerate(inputs):
        image = images[f"other{number}"] = mine.copy()
        for field, value in changed.items():
            image[start : start + layout.STREAM.itemsize].view(layout.STREAM)[field] = value
    body = "static model_state state;\n"
    for image, data in images.items():
        right = "MODEL_OK" if image == "mine" else "MODEL_BAD_WEIGHTS"
        body += f"static MODEL_ALIGNED uint64_t {image}[] = {{\n{array_words(data)}}};\n"
        body += f"CHECK(csbrnn_image_check({image}, sizeof {image}) == CSBRNN_OK); //\n"
        body += f"CHECK(model_init(&state, {image}, sizeof {image}) == {right}); //\n"
    check_c(export, body, objects)


def test_example_tells_bad_lines(packed, objects, tmp_path):
    native.require("gcc")
    for name, lines in {
        "floats": {"1 2 3 4 5\n1 2": "line 2: must be 5 numbers, got 2",
                   "1 2 3 4 x": "line 1: must be 5 numbers, got something else",
                   "1 2 3 4 5 6": "line 1: must be 5 numbers, got 6",
                   "0" * 99: "line 1: must be 5 numbers, got something else"},
        "tokens": {"\n37": "line 2: tokens are 0 .. 36",
                   "99999999999": "got something else", "1.5": "got something else"},
    }.items():  # fmt: skip
        folder = tmp_path / name
        export_c(packed[name], folder)
        sh(
            "gcc",
            *STRICT,
            "model.c",
            "main.c",
            *LINK,
            *objects("gcc").values(),
            "-o",
            "x",
            cwd=folder,
        )
        for line, text in lines.items():
            done = subprocess.run(
                ["./x"], cwd=folder, input=line, capture_output=True, text=True, check=False
            )
            assert done.returncode == 1
            assert text in done.stderr


# What it needs.


def test_footprint_is_measured_with_the_compiler(packed, tmp_path):
    native.require("gcc", "size")
    fused = export_c(packed["floats"], tmp_path / "a", isas=["baseline"], compiler="gcc -Wall")
    general = export_c(packed["elementwise"], tmp_path / "b", isas=["baseline"], compiler="gcc")
    kernels = fused.footprint.kernels
    assert list(kernels) == ["baseline"]
    assert 1_000 < kernels["baseline"] < fused.footprint.code_nbytes < 200_000
    # The weights are not counted as code: two models differ in a hundred bytes or so.
    assert abs(fused.footprint.code_nbytes - general.footprint.code_nbytes) < 500
    # Only element-wise programs take 32 registers of 64 floats, 8 KiB, from the stack.
    assert 100 < fused.footprint.stack_nbytes < 8192 < general.footprint.stack_nbytes < 20_000
    readme = (tmp_path / "b" / "README.md").read_text()
    for number in (general.flash_nbytes, general.state_nbytes, general.footprint.stack_nbytes):
        assert f"| {number:,} |" in readme
    assert "measured: gcc" in readme


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads x86-64's stack pointer")
@pytest.mark.parametrize(("name", "given"), [("int8", "x"), ("tokens", "x[0]")])
def test_no_more_stack_is_touched_than_is_said(name, given, packed, tmp_path):
    """The red zone and what aligned frames skip included: the compiler's figures lack both."""
    native.require("gcc", "size")
    isa = available_isas()[0]
    export = export_c(packed[name], tmp_path, isas=[isa], compiler="gcc")
    sources = [f for f in export.files if f.endswith(".c") and f != "main.c"]
    # Bound at the start: looking a function up at its first call would take stack, too.
    sh("gcc", "-O3", *STRICT, *LINK, "-Wl,-z,now", f"-DINPUT={given}", "-I.", *sources,
       native.HERE / "harness_stack.c", "-o", "stack", cwd=tmp_path)  # fmt: skip
    touched = [int(n) for n in sh("./stack", cwd=tmp_path).stdout.split()]
    assert len(touched) == 8
    assert export.footprint.stack_nbytes / 3 < max(touched) <= export.footprint.stack_nbytes


def test_footprint_without_a_compiler(packed, tmp_path):
    for compiler in (None, "no-such-compiler", "", "false"):
        export = export_c(packed["floats"], tmp_path, isas=["baseline"], compiler=compiler)
        assert export.footprint is None
        assert "were not measured" in (tmp_path / "README.md").read_text()


def test_footprint_by_clang_has_no_stack(packed, tmp_path):
    native.require("clang", "size")
    export = export_c(packed["floats"], tmp_path, isas=["baseline"], compiler="clang")
    assert export.footprint.how.startswith("clang ")
    assert export.footprint.stack_nbytes is None


def test_sizes_are_those_of_the_image(packed, tmp_path):
    engine = compile(packed["floats"])
    export = export_c(engine, tmp_path)
    assert export.flash_nbytes == engine.nbytes
    assert export.saved_nbytes == engine.initial_state().data.nbytes
    assert export.values_nbytes < export.flash_nbytes
    assert json.loads(json.dumps(export.to_dict()))["files"] == list(export.files)
    assert {p.name for p in tmp_path.iterdir()} == set(export.files)


def test_files_are_the_runtimes_own(packed, tmp_path):
    export_c(packed["floats"], tmp_path)
    for file in set(exported_sources()) - {"csbrnn_config.h"}:  # says which formats are in it
        assert (tmp_path / file).read_bytes() == (native.SOURCES / file).read_bytes()
    left_out = {f"{stem}.c" for stem in native.NOT_FOR_DEVICES} | {"pool.c", "csbrnn_pool.h"}
    assert not left_out & set(exported_sources())
    assert set(available_isas()) <= set(exportable_isas())
    few = exported_sources(["neon"])
    assert "simd_neon.h" in few
    assert not [f for f in few if "avx" in f or "baseline" in f]
    assert (tmp_path / "LICENSE").read_text() == (
        Path(__file__).parent.parent.parent / "LICENSE"
    ).read_text()


def test_no_placeholder_is_left(packed, tmp_path):
    for name in ("floats", "tokens"):
        for weights in ("array", "binary"):
            export = export_c(packed[name], tmp_path, name="n_1", weights=weights)
            for file in export.files:
                if file != "n_1.bin":
                    text = (tmp_path / file).read_text()
                    assert not [w for w in ("@if", "@e", "@n", "@N") if w in text], file


# Refusals.


def test_models_that_run_backward_or_on_threads_are_refused(packed, tmp_path):
    rng = np.random.default_rng(0)
    model = models.branching_model(rng)
    two = [
        models.recurrent(rng, CELLS["gru"], n, source=s, input_size=w, hidden_size=3,
                         bidirectional=True)
        for n, s, w in (("first", "input", 4), ("second", "first", 6))
    ]  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="can't be exported to C") as found:
        export_c(PackedModel(tuple(two), Features(4), "second"), tmp_path / "c")
    assert [r.split()[0] for r in found.value.reasons] == ["first", "second"]
    assert "runs step by step and can't read its input backward" in found.value.reasons[0]
    with pytest.raises(UnsupportedModelError) as found:
        export_c(compile(model, threads=2), tmp_path / "c")
    assert found.value.reasons[0] == (
        "the engine was compiled for 2 threads, and an export has one: compile with threads=1"
    )
    assert all("runs backward in time" in r for r in found.value.reasons[1:])
    assert len(found.value.reasons) > 1
    with pytest.raises(UnsupportedModelError, match="runs backward in time"):
        export_c(lower(model), tmp_path / "c")
    broken = PackedModel((*two[:1], models.recurrent(rng, CELLS["gru"], "odd", source="nowhere",
                         input_size=4, hidden_size=3)), Features(4), "odd")  # fmt: skip
    with pytest.raises(UnsupportedModelError) as found:
        export_c(broken, tmp_path / "c")
    assert "first is bidirectional" in found.value.reasons[0]
    assert any("nowhere" in r for r in found.value.reasons[1:])
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"weights": "flash"}, "weights must be one of array, binary, got 'flash'"),
        ({"isas": ["sse9", "neon"]}, "isas must be some of .*, baseline, got 'sse9'"),
        ({"isas": []}, "isas must be some of"),
        ({"isas": "neon"}, "isas must be some of .* got 'neon'"),
        ({"name": "--"}, "name must come to 1..40 letters, digits and underscores, got '--'"),
        ({"name": "x" * 41}, "name must come to 1..40 letters"),
        ({"name": "csbrnn"}, "name must not begin with csbrnn"),
        ({"name": "Engine"}, "name must not be 'Engine': a file or build target .* Engine_model"),
        ({"name": "math"}, "name must not be 'math'"),
        ({"name": "main"}, "name must not be 'main'"),
        ({"name": 3}, "name must be text, got int"),
    ],
)
def test_arguments(arguments, text, packed, tmp_path):
    with pytest.raises(ArgumentError, match=text):
        export_c(packed["floats"], tmp_path / "c", **arguments)
    assert not (tmp_path / "c").exists()


def test_model_must_be_one(tmp_path):
    with pytest.raises(ArgumentError, match="model must be a PackedModel, a Program or an Engine"):
        export_c("model", tmp_path)


@pytest.mark.parametrize(
    "name", ["build", "CMakeFiles", "LICENSE", "preinstall", "ALL_BUILD", "zero_check", "RUN_TESTS"]
)
def test_names_that_break_a_build_are_refused(name):
    with pytest.raises(ArgumentError, match=f"name must not be '{name}': a file or build target"):
        identifier(name)


def test_names_become_identifiers():
    for name, clean in {
        "wake word-2": "wake_word_2", "8x": "model_8x", "Größe": "Gr_e", "_a__b_": "a_b",
        "int": "int",
    }.items():  # fmt: skip
        assert identifier(name) == clean


# The folder.


def test_an_earlier_export_is_replaced_and_other_files_stay(packed, tmp_path):
    folder = tmp_path / "a" / "b"
    export_c(packed["floats"], folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "sub").mkdir()
    export = export_c(packed["tokens"], folder, name="t", weights="binary", isas=["neon"])
    found = {p.name for p in folder.iterdir()}
    assert found == {*export.files, "notes.txt", "sub"}
    assert [p.name for p in folder.parent.iterdir()] == ["b"]


def test_an_empty_folder_is_used_and_readable(packed, tmp_path):
    (tmp_path / "c").mkdir()
    export_c(packed["floats"], tmp_path / "c")
    export_c(packed["floats"], tmp_path / "d")
    (tmp_path / "e").mkdir()
    assert (tmp_path / "d").stat().st_mode == (tmp_path / "e").stat().st_mode


def test_the_working_folder_and_links(packed, tmp_path, monkeypatch):
    (tmp_path / "c").mkdir()
    (tmp_path / "link").symlink_to("c")
    monkeypatch.chdir(tmp_path / "c")
    for folder in (".", tmp_path / "link"):
        export = export_c(packed["floats"], folder)
        assert {p.name for p in (tmp_path / "c").iterdir()} == set(export.files)
    assert (tmp_path / "link").is_symlink()
    assert len(list(tmp_path.iterdir())) == 2


def test_an_export_cut_short_can_be_made_again(packed, tmp_path, monkeypatch):
    export_c(packed["floats"], tmp_path / "c", isas=["baseline"])
    replace = Path.replace

    def cut(path, target):
        if path.name == "main.c":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", cut)
        with pytest.raises(ArgumentError, match="can't be written: Input/output error"):
            export_c(packed["tokens"], tmp_path / "c", name="t", isas=["neon"])
    export = export_c(packed["tokens"], tmp_path / "c", name="u")
    assert {p.name for p in (tmp_path / "c").iterdir()} == set(export.files)


def test_what_is_not_an_export_is_left_alone(packed, tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("x")
    with pytest.raises(ArgumentError, match="is not empty, and has no csbrnn-export"):
        export_c(packed["floats"], tmp_path / "home")
    with pytest.raises(ArgumentError, match="must be a folder, or not exist"):
        export_c(packed["floats"], tmp_path / "home" / "thesis.tex")
    with pytest.raises(ArgumentError, match=r"can't be written: (Not a directory|File exists)"):
        export_c(packed["floats"], tmp_path / "home" / "thesis.tex" / "c")
    assert [p.name for p in tmp_path.rglob("*")] == ["home", "thesis.tex"]


def test_a_file_of_ones_own_is_not_overwritten(packed, tmp_path):
    export_c(packed["floats"], tmp_path, name="a")
    (tmp_path / "b.h").write_text("mine")
    with pytest.raises(ArgumentError, match=r"b\.h would be overwritten"):
        export_c(packed["floats"], tmp_path, name="b")
    assert (tmp_path / "b.h").read_text() == "mine"


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "csbrnn-export", "files": ["../victim"]}',
     '{"format": "csbrnn-export", "files": [".."]}', '{"format": "csbrnn-export", "files": [7]}',
     '{"format": "other", "files": []}', '{"format": "csbrnn-export", "files": 3}', "[" * 10**5],
)  # fmt: skip
def test_hostile_manifests_mark_no_export(text, packed, tmp_path):
    (tmp_path / "victim").write_text("alive")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / MANIFEST).write_text(text)
    with pytest.raises(ArgumentError, match="is not empty, and has no"):
        export_c(packed["floats"], tmp_path / "c")
    assert (tmp_path / "victim").exists()


def test_a_failure_while_writing_leaves_the_earlier_export(packed, tmp_path, monkeypatch):
    export_c(packed["floats"], tmp_path / "c")
    before = {p: p.read_bytes() for p in (tmp_path / "c").iterdir()}
    write = Path.write_bytes

    def full(path, data):
        if path.name == "main.c":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ArgumentError, match="can't be written: No space left on device"):
        export_c(packed["tokens"], tmp_path / "c")
    assert {p: p.read_bytes() for p in (tmp_path / "c").iterdir()} == before
    assert list(tmp_path.iterdir()) == [tmp_path / "c"]


# The command.


def test_command(packed, tmp_path, monkeypatch):
    save(packed["floats"], tmp_path / "packed")
    monkeypatch.setenv("CC", "no-such-compiler")
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*options):
        arguments = ["export", str(tmp_path / "packed"), "--out", str(tmp_path / "c"), *options]
        return CliRunner().invoke(cli.app, arguments)

    done = invoke("--name", "net", "--isa", "baseline", "--weights", "binary",
                  "--json", str(tmp_path / "r.json"))  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["name"] == "net"
    assert result["isas"] == ["baseline"]
    assert f"{result['flash_nbytes']:,}" in done.output
    assert "`no-such-compiler` can't compile it" in " ".join(done.output.split())
    assert (tmp_path / "c" / "net.bin").stat().st_size == result["flash_nbytes"]
    wrong = invoke("--weights", "flash")
    assert isinstance(wrong.exception, ArgumentError)
    if shutil.which("cc") and shutil.which("size"):
        monkeypatch.delenv("CC")
        assert "code, with all kernels exported" in invoke("--isa", "baseline").output
