import pickle
import threading

import numpy as np
import pytest

from csbrnn import errors
from csbrnn.cells import CELLS, Cell, Parameter, Stack, gated_parameters
from csbrnn.compiler import lower, run_program
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel, Recurrent, quantize
from csbrnn.runtime import Engine, available_isas, compile

from . import models

ISAS = available_isas()
PATTERNS = {
    "stripes of 16": ((16, 64), 16),
    "stripes of 8": ((8, 64), 8),
    "stripes of 4": ((4, 64), 4),
    "groups of 8": ((64, 64), 8),
    "free 64": ((64, 64), 1),
    "free 32": ((32, 32), 1),
    "free 16": ((16, 16), 1),
    "odd": ((48, 40), 3),
    "tall": ((1000, 24), 1),
    "rows": ((1, 16), 1),
}


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS.keys())
def test_every_cell_at_every_size(cell, isa, rng):
    for hidden in (*range(1, 20), 31, 32, 33, 48, 63, 64, 65, 70):
        packed = models.model(rng, cell, hidden_size=hidden, num_layers=1 + hidden % 2)
        models.assert_right(models.engine_of(packed, isa=isa), rng)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("density", [0.02, 0.1, 0.5, 1.0])
def test_every_pattern(pattern, density, isa, rng):
    block, group = PATTERNS[pattern]
    make = lambda rng, rows, columns: models.csb(rng, rows, columns, block, group, density)  # noqa: E731
    for hidden, threads in ((70, 1), (128, 1), (101, 3)):
        packed = models.model(rng, input_size=33, hidden_size=hidden, make=make)
        models.assert_right(models.engine_of(packed, isa=isa, threads=threads), rng)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("cell", ["lstm", "gru", "lstm_peephole", "gru_reset_before"])
def test_threads_and_batches(cell, threads, rng):
    packed = models.model(rng, CELLS[cell], hidden_size=37, num_layers=2)
    engine = models.engine_of(packed, threads=threads)
    for batch in (None, 0, 1, 3):
        models.assert_right(engine, rng, batch=batch)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("isa", ISAS)
def test_tokens_softmax_and_branches(isa, threads, rng):
    for packed in (
        models.language_model(rng),
        models.language_model(rng, "softmax", vocabulary=16),
        models.language_model(rng, "softmax", vocabulary=1),
        models.branching_model(rng),
    ):
        engine = models.engine_of(packed, isa=isa, threads=threads)
        for steps in (0, 1, 6):
            models.assert_right(engine, rng, steps=steps)


def test_a_row_range_and_a_split_operand(rng):
    # GRU takes rows 2 H.. of the stacked matrix: not a multiple of any group when H is odd.
    for hidden in (5, 21, 43):
        for block, group in PATTERNS.values():
            make = lambda r, m, n, b=block, g=group: models.csb(r, m, n, b, g, 0.3)  # noqa: E731
            packed = models.model(rng, CELLS["gru"], hidden_size=hidden, make=make)
            models.assert_right(models.engine_of(packed, threads=2), rng)
    make = lambda r, m, n: models.csb(r, m, n, (4, n), 4, min(1, 40 / n))  # noqa: E731
    packed = models.model(rng, hidden_size=4, input_size=70_000, make=make)
    models.assert_right(models.engine_of(packed), rng)


def test_threads_and_isas_agree_with_one_another(rng):
    packed = models.model(rng, hidden_size=50, num_layers=2)
    program = lower(packed)
    xs = models.sequence(rng, program, 5)
    results = {isa: Engine(program, 1, isa)(xs)[0] for isa in ISAS}
    for isa, expected in results.items():
        # Threads only decide who computes a row.
        np.testing.assert_array_equal(Engine(program, 3, isa)(xs)[0], expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_steps_sequence_and_stream_agree_bit_for_bit(threads, rng):
    engine = models.engine_of(models.model(rng, num_layers=2), threads=threads)
    xs = models.sequence(rng, engine.program, 9)
    ys, after = engine(xs)
    state, stream = engine.initial_state(), engine.stream()
    for x, y in zip(xs, ys, strict=True):
        got, state = engine.step(x, state)
        np.testing.assert_array_equal(got, y)
        np.testing.assert_array_equal(stream.step(x), y)
    assert state == after == stream.state
    middle = engine(xs[:4])[1]
    np.testing.assert_array_equal(engine(xs[4:], middle)[0], ys[4:])
    stream.reset()
    stream.x[...] = xs[0]
    np.testing.assert_array_equal(stream.step(), ys[0])
    other = engine.stream(middle)
    np.testing.assert_array_equal(other.step(xs[4]), ys[4])


@pytest.mark.parametrize("batch", [None, 1, 2])
def test_a_step_leaves_its_state_and_earlier_outputs_alone(batch, rng):
    engine = models.engine_of(models.model(rng))
    axes = () if batch is None else (batch,)
    state = models.random_state(rng, engine, batch)
    before = state.copy()
    y, after = engine.step(np.ones((*axes, 5), np.float32), state)
    kept, then = y.copy(), after.copy()
    again, _ = engine.step(np.zeros((*axes, 5), np.float32), after)
    engine(np.ones((3, *axes, 5), np.float32), state)
    assert state == before
    assert after == then
    assert after.batch == batch
    assert again.shape == y.shape == (*axes, engine.program.streams["output"].width)
    np.testing.assert_array_equal(y, kept)


def test_streams_of_one_engine_do_not_mix(rng):
    for threads in (1, 2):
        engine = models.engine_of(models.model(rng, hidden_size=40), threads=threads)
        xs = models.sequence(rng, engine.program, 200, (4,))
        expected = engine(xs)[0]
        results = np.zeros_like(expected)

        def work(k, engine=engine, xs=xs, results=results):
            stream, state = engine.stream(), None
            for t, x in enumerate(xs[:, k]):
                if k % 2:
                    results[t, k] = stream.step(x)
                else:
                    results[t, k], state = engine.step(x, state)

        workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        np.testing.assert_array_equal(results, expected)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-40, -0.0])
def test_special_inputs(isa, value, rng):
    """NaN reaches what depends on it; infinities saturate the gates.

    A row may also get NaN from a weight that was pruned, as in a dense product, if the tiles which
    hold it have that column for another row's sake. Strips along row groups have no such rows.
    """
    for block, group, size in ((4, 64), 4, 64), ((64, 64), 1, 64), ((16, 16), 1, 33):
        make = lambda r, m, n, b=block, g=group: models.csb(r, m, n, b, g, 0.1)  # noqa: E731
        packed = models.model(rng, hidden_size=size, input_size=size, make=make)
        engine = models.engine_of(packed, isa=isa)
        along = models.kinds(engine.program, isa) == {("strips", group)}
        xs = models.sequence(rng, engine.program, 3)
        xs[0, 7] = value
        expected = _sparse_step(engine.program, xs[0])
        y, state = engine.step(xs[0])
        if np.isfinite(value):
            assert np.isfinite(y).all()
        assert np.isnan(y[np.isnan(expected)]).all()
        certain = slice(None) if along or np.isfinite(value) else ~np.isnan(y)
        np.testing.assert_allclose(y[certain], expected[certain], rtol=3e-6, atol=3e-6)
        engine(xs[1:], state)


def _sparse_step(program, x):
    """One step of an LSTM from zero, without the products 0 * x of pruned weights."""
    weight = program.matrices["rnn.weight_ih_l0"].to_dense().astype(np.float64)
    with np.errstate(all="ignore"):
        # 1e30 for infinities: all gates saturate, but pruned weights give 0 instead of NaN.
        terms = weight * np.clip(x.astype(np.float64), -1e30, 1e30)
    terms[weight == 0] = 0
    bias = sum(v.astype(np.float64) for v in program.constants.values())
    i, f, g, o = np.split(terms.sum(axis=1) + bias, 4)
    with np.errstate(over="ignore"):
        s = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
        return s(o) * np.tanh(s(f) * 0 + s(i) * np.tanh(g))


def test_accepts_what_numpy_reads(rng):
    torch = pytest.importorskip("torch")
    engine = models.engine_of(models.model(rng))
    x = rng.uniform(-1, 1, 5)
    expected = engine.step(x.astype(np.float32))[0]
    for given in (x, list(x), torch.tensor(x), torch.tensor(x, dtype=torch.float32)):
        np.testing.assert_array_equal(engine.step(given)[0], expected)
        np.testing.assert_array_equal(engine.stream().step(given), expected)
    strided = np.zeros((5, 3), np.float32)
    strided[:, 1] = x
    np.testing.assert_array_equal(engine.step(strided[:, 1])[0], expected)


def test_refuses_wrong_arguments(rng):
    engine = models.engine_of(models.model(rng))
    other = models.engine_of(models.model(rng, hidden_size=21))
    shape = r"x must be floats of shape \(5,\) or \(batch, 5\)"
    cases = [
        (lambda: engine.step(np.zeros(4, np.float32)), rf"{shape}, got float32 of shape \(4,\)"),
        (lambda: engine.step(np.zeros((2, 2, 5), np.float32)), rf"{shape}, got float32 of shape"),
        (lambda: engine.step(np.zeros(5, int)), rf"{shape}, got int64 of shape \(5,\)"),
        (lambda: engine.step("abc"), rf"{shape}, got <U3"),
        (lambda: engine.step([[1.0], [1.0, 2.0]]), rf"{shape}; NumPy can't read a list"),
        (lambda: engine(np.zeros(5, np.float32)), r"shape \(seq_len, 5\) or \(seq_len, batch, 5\)"),
        (lambda: engine.step(np.zeros(5), engine.initial_state(1)), "same batch, got None and 1"),
        (lambda: engine.step(np.zeros((2, 5)), engine.initial_state(3)), "same batch, got 2 and 3"),
        (lambda: engine.step(np.zeros(5), other.initial_state()), "belongs to another model"),
        (lambda: engine.step(np.zeros(5), np.zeros(5)), "must be a State of this engine"),
        (lambda: engine.stream().step(np.zeros((1, 5))), "a stream has no batch"),
        (lambda: engine.stream(engine.initial_state(2)), "state has no batch"),
        (lambda: engine.initial_state(-1), "batch must be None or an integer"),
        (lambda: compile(object()), "must be a PackedModel or a Program, got object"),
        (lambda: Engine(engine.program, 0), r"threads must be an integer in 1\.\.256, got 0"),
        (lambda: Engine(engine.program, 1, "mmx"), "isa must be one of .*, got 'mmx'"),
    ]
    for call, message in cases:
        with pytest.raises(errors.ArgumentError, match=message):
            call()


def test_refuses_tokens_out_of_range(rng):
    engine = models.engine_of(models.language_model(rng))
    calls = (lambda: engine.step(37), lambda: engine([3, -1]), lambda: engine.stream().step(40))
    for call in calls:
        with pytest.raises(errors.ArgumentError, match=r"tokens must lie in 0\.\.36, got"):
            call()
    with pytest.raises(errors.ArgumentError, match="must be integers"):
        engine.step(1.0)
    stream = engine.stream()
    stream.step(3)
    before = stream.state
    stream.x[0] = 37  # past Python's check: C has its own
    with pytest.raises(errors.ArgumentError, match=r"tokens must lie in 0\.\.36; one does not"):
        stream.step()
    assert stream.state == before


def test_tokens_may_come_in_any_integer_type(rng):
    engine = models.engine_of(models.language_model(rng))
    expected, _ = engine([3, 36, 0])
    for kind in (int, np.int64, np.uint8, np.asarray):
        stream = engine.stream()
        for token, y in zip((3, 36, 0), expected, strict=True):
            np.testing.assert_array_equal(stream.step(kind(token)), y)
    stream = engine.stream()
    for wrong in (37, -1, 2**40, True, 1.0):
        with pytest.raises(errors.ArgumentError, match=r"tokens must|must be integers"):
            stream.step(wrong)
    features = models.engine_of(models.model(rng)).stream()
    with pytest.raises(errors.ArgumentError, match="must be floats"):
        features.step(0)


def test_bidirectional_models_can_not_step(rng):
    engine = models.engine_of(models.branching_model(rng))
    for call in (lambda: engine.step(np.zeros(6)), engine.stream):
        with pytest.raises(errors.ArgumentError, match="call the engine on whole sequences"):
            call()


def test_the_environment_chooses_the_isa(rng, monkeypatch):
    program = lower(models.model(rng))
    for isa in ISAS:
        monkeypatch.setenv("CSBRNN_ISA", isa)
        assert Engine(program).isa == isa
    monkeypatch.setenv("CSBRNN_ISA", "altivec")
    with pytest.raises(errors.ArgumentError, match=r"CSBRNN_ISA must be one of .* got 'altivec'"):
        Engine(program)


def test_a_state_is_a_value(rng):
    engine = models.engine_of(models.model(rng, CELLS["lstm_projection"], num_layers=2))
    other = models.engine_of(models.model(rng, num_layers=2))
    for batch in (None, 0, 3):
        state = models.random_state(rng, engine, batch)
        shape = (2, 19) if batch is None else (2, batch, 19)
        assert state["rnn.h"].shape == shape
        assert state["rnn.c"].shape == (*shape[:-1], 20)
        assert repr(state) == f"State(rnn.h: {shape}, rnn.c: {(*shape[:-1], 20)})"
        for copy in (
            state.copy(),
            pickle.loads(pickle.dumps(state)),
            engine.state_from_bytes(state.to_bytes()),
        ):
            assert copy == state
            if batch != 0:
                copy["rnn.h"] = copy["rnn.h"] + 1
                assert copy != state
        data = state.to_bytes()
        with pytest.raises(errors.FormatError, match="model with other states"):
            other.state_from_bytes(data)
        for hostile in (b"", data[:20], b"x" + data[1:], data + b"1234", data[:-1]):
            with pytest.raises(errors.FormatError, match="state"):
                engine.state_from_bytes(hostile)
    with pytest.raises(errors.ArgumentError, match=r"of shape \(2, 3, 19\), got float64 of \(2,\)"):
        state["rnn.h"] = np.zeros(2)
    with pytest.raises(KeyError, match="no state 'x'"):
        state["x"]
    assert state != "state"


@pytest.mark.parametrize("value", [[[1], [2, 3]], object(), np.full((1, 20), "a")])
def test_state_values_that_are_none(value, rng):
    state = models.engine_of(models.model(rng)).initial_state()
    with pytest.raises(
        errors.ArgumentError, match=r"state 'rnn.h' must be real numbers of shape \(1, 20\)"
    ):
        state["rnn.h"] = value


def test_state_values_that_float32_cannot_hold_are_infinite(rng):
    state = models.engine_of(models.model(rng)).initial_state(np.int64(1))
    state["rnn.h"] = np.full((1, 1, 20), 1e300)
    assert np.isinf(state["rnn.h"]).all()


def test_infinite_state_values_are_equal_to_themselves(rng):
    engine = models.engine_of(models.model(rng))
    state = engine.initial_state()
    state["rnn.h"] = np.full((1, 20), np.nan)
    assert state == state.copy()


def test_states_go_in_and_come_out_of_bidirectional_models(rng):
    engine = models.engine_of(models.branching_model(rng), threads=2)
    models.assert_right(engine, rng, batch=2)


def test_describes_itself(rng):
    engine = compile(models.model(rng), threads=2)
    assert engine.threads == 2
    assert engine.isa in ISAS
    assert engine.nbytes == engine.image.nbytes
    assert not engine.image.flags.writeable
    assert repr(engine) == f"Engine(isa={engine.isa!r}, threads=2, nbytes={engine.nbytes})"
    expected, _ = run_program(engine.program, np.ones((1, 5)))
    np.testing.assert_allclose(engine(np.ones((1, 5)))[0], expected, atol=2e-6)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_cells_may_multiply_a_trained_vector(precision):
    cell = Cell(
        "attend",
        {"h": "hidden"},
        (*gated_parameters("h"), Parameter("weight_v", ("v", "u"), "hidden")),
        "h_next = tanh(W_ih @ x + b_ih + W_hh @ v + b_hh + W_hh @ u + 0.5 * h)",
    )
    rng = np.random.default_rng(0)
    stack = Stack(cell, 3, 5)
    parameters = {
        name: DenseMatrix(values) if values.ndim == 2 else values
        for name, shape in stack.parameter_shapes().items()
        for values in [rng.normal(0, 0.5, shape).astype(np.float32)]
    }
    model = PackedModel((Recurrent("rnn", ("input",), stack, parameters),), Features(3), "rnn")
    model = quantize(model, precision)
    xs = rng.standard_normal((6, 3), np.float32)
    expected, _ = run_program(lower(model), xs)
    np.testing.assert_allclose(compile(model)(xs)[0], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.1


def test_a_model_without_states_has_no_endless_batches():
    layer = Linear("fc", ("input",), DenseMatrix(np.ones((2, 3), np.float32)))
    engine = compile(PackedModel((layer,), Features(3), "fc"))
    data = engine.initial_state(3).to_bytes()
    assert engine.state_from_bytes(data).batch == 3
    for batch in (2**31, 2**62):
        with pytest.raises(errors.FormatError, match="must hold"):
            engine.state_from_bytes(data[:16] + batch.to_bytes(8, "little") + data[24:])
