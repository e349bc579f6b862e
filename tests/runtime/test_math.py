"""Element-wise operations of every instruction set, over the whole range of floats."""

import numpy as np
import pytest

from csbrnn.cells import BINARY, UNARY
from csbrnn.compiler import Elementwise, MicroOp, Pass, Program, Slice, Softmax, Stream, Vector
from csbrnn.errors import UnsupportedModelError
from csbrnn.runtime import Engine, available_isas

ISAS = available_isas()
LENGTH = 1 << 16


def program(operations, inputs, length=LENGTH):
    """One element-wise instruction on vectors a, b, ..; the result is y."""
    names = "ab"[:inputs]
    code = [MicroOp("load", slice=Slice(n, 0, length)) for n in names]
    code += [*operations, MicroOp("store", (len(code) + len(operations) - 1,),
                                  slice=Slice("y", 0, length))]  # fmt: skip
    return Program(
        vectors={n: Vector(n, length, "input") for n in names}
        | {"y": Vector("y", length, "scratch")},
        streams={"input": Stream("input", inputs * length), "output": Stream("output", length)},
        passes=(
            Pass(
                False,
                tuple(("input", k * length, n) for k, n in enumerate(names)),
                ((Slice("y", 0, length), "output", 0),),
                (Elementwise(length, tuple(code)),),
            ),
        ),
        constants={},
        matrices={},
        tables={},
    )


def floats():
    """Every 65536th float, all exponents and both signs, infinities and NaN among them."""
    values = np.arange(0, 1 << 32, 1 << 16, np.uint64).astype(np.uint32).view(np.float32)
    return np.where(np.isnan(values), np.float32(np.nan), values)


def reference(op, *args):
    x = args[0].astype(np.float64)
    with np.errstate(all="ignore"):
        match op:
            case "sigmoid":
                return 1 / (1 + np.exp(-x))
            case "relu":
                return np.maximum(x, 0)
            case "neg":
                return -x
            case "abs" | "exp" | "log" | "tanh":
                return getattr(np, op)(x)
            case _:
                name = {"sub": "subtract", "add": "add", "mul": "multiply", "div": "divide"}
                function = getattr(np, name.get(op, op))
                return function(x, args[1].astype(np.float64))


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", UNARY)
def test_unary(op, isa):
    x = floats()
    got = Engine(program([MicroOp(op, (0,))], 1), isa=isa).step(x)[0]
    expected = reference(op, x)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    real = ~np.isnan(expected)
    with np.errstate(all="ignore"):
        expected32 = expected.astype(np.float32)
    # 2.4e-7 is two units in the last place at 1. exp has 3e-7 where its argument is large: half a
    # unit of x / ln 2 is lost in rounding to float32. sigmoid(-87) is off by 3.5e-7, for 3e-9 of an
    # argument is with AVX-512. Below 1e-37 results may lose bits, or be 0.
    rtol = {"exp": 3e-7, "sigmoid": 4e-7}.get(op, 2.4e-7)
    exact = op in ("neg", "abs", "relu")
    np.testing.assert_allclose(
        got[real], expected32[real], rtol=0 if exact else rtol, atol=0 if exact else 2e-38
    )


@pytest.mark.parametrize("isa", ISAS)
def test_tanh_and_sigmoid_around_zero(isa):
    x = np.linspace(-3, 3, LENGTH).astype(np.float32)
    for op in ("tanh", "sigmoid"):
        got = Engine(program([MicroOp(op, (0,))], 1), isa=isa).step(x)[0]
        np.testing.assert_allclose(got, reference(op, x), rtol=2.4e-7, atol=1e-38)
        assert (np.abs(got) <= 1).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("op", BINARY)
def test_binary(op, isa):
    a = floats()
    b = np.random.default_rng(5).permutation(a)
    got = Engine(program([MicroOp(op, (0, 1))], 2), isa=isa).step(np.concatenate([a, b]))[0]
    with np.errstate(all="ignore"):
        expected = reference(op, a, b).astype(np.float32)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    real = ~np.isnan(expected)
    np.testing.assert_array_equal(got[real], expected[real])


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("length", [1, 2, 5, 15, 16, 17, 33, 63, 64, 65, 130])
def test_every_length_and_only_its_elements(length, isa):
    code = program([MicroOp("exp", (0,))], 1, length)
    x = np.linspace(-5, 5, length).astype(np.float32)
    for threads in (1, 2, 3):
        got = Engine(code, threads, isa).step(x)[0]
        np.testing.assert_allclose(got, np.exp(x.astype(float)), rtol=3e-7)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("isa", ISAS)
def test_softmax(isa, log):
    rng = np.random.default_rng(0)
    for length in (1, 3, 16, 17, 100):
        whole = Slice("a", 0, length)
        code = Program(
            vectors={"a": Vector("a", length, "input"), "y": Vector("y", length, "scratch")},
            streams={"input": Stream("input", length), "output": Stream("output", length)},
            passes=(
                Pass(
                    False,
                    (("input", 0, "a"),),
                    ((Slice("y", 0, length), "output", 0),),
                    (Softmax(Slice("y", 0, length), whole, log),),
                ),
            ),
            constants={},
            matrices={},
            tables={},
        )
        engine = Engine(code, isa=isa)
        for scale in (1, 50, 1e30):
            x = (rng.standard_normal(length) * scale).astype(np.float32)
            z = x.astype(float) - x.max()
            expected = z - np.log(np.exp(z).sum()) if log else np.exp(z) / np.exp(z).sum()
            np.testing.assert_allclose(engine.step(x)[0], expected, rtol=1e-6, atol=1e-6)
        x[0] = np.nan
        assert np.isnan(engine.step(x)[0]).all()


def test_too_many_values_at_once_are_refused():
    values = [MicroOp("constant", value=float(k)) for k in range(40)]
    sums = [MicroOp("add", (1 if k == 1 else 39 + k, k + 1)) for k in range(1, 40)]
    with pytest.raises(UnsupportedModelError, match="needs more than 32 values at once"):
        Engine(program([*values, *sums], 1, 4))


def test_slots_are_used_again():
    """A chain of 200 operations, with stores of what was loaded before."""
    chain = [MicroOp("neg", (k,)) for k in range(200)]
    x = np.linspace(-1, 1, 8).astype(np.float32)
    np.testing.assert_array_equal(Engine(program(chain, 1, 8)).step(x)[0], x)
