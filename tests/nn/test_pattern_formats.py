"""Each pattern from one-shot pruning to the compiled engine: its format holds it, and runs."""

import numpy as np
import pytest
import torch
from torch import nn

import csbrnn
from csbrnn.compiler import lower, run_program
from csbrnn.formats import (
    BSRMatrix,
    CirculantMatrix,
    CSBMatrix,
    CSRMatrix,
    DenseMatrix,
    SparseBanksMatrix,
)
from csbrnn.model import load, run_reference, save
from csbrnn.nn import pack
from csbrnn.nn.pattern_formats import fitting_candidates
from csbrnn.patterns import (
    CSB,
    NM,
    PATTERNS,
    BankBalanced,
    Block,
    BlockCirculant,
    MaskPattern,
    RowBalanced,
    RowColumn,
    Unstructured,
)

torch.set_num_threads(1)

INPUT, HIDDEN = 24, 32
CASES = [
    (Unstructured(), 0.25, CSRMatrix),
    (CSB((16, 16)), 0.25, CSBMatrix),
    (CSB((16, 64), 16), 0.25, CSBMatrix),
    (RowBalanced(), 0.25, (CSRMatrix, SparseBanksMatrix)),
    (BankBalanced(8), 0.25, SparseBanksMatrix),
    (NM(2, 4), 0.5, SparseBanksMatrix),
    (NM(1, 8), 0.125, SparseBanksMatrix),
    (Block((4, 4)), 0.25, BSRMatrix),
    (Block((16, 8)), 0.25, BSRMatrix),
    (RowColumn(), 0.25, CSBMatrix),
    (BlockCirculant(8), 0.125, CirculantMatrix),
    (BlockCirculant(8), 0.0625, CirculantMatrix),
]
every_case = pytest.mark.parametrize(
    ("pattern", "density", "format"), CASES, ids=[f"{p}-{d}" for p, d, _ in CASES]
)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(INPUT, HIDDEN)
        self.head = nn.Linear(HIDDEN, 5)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


def pruned(pattern, density, **options):
    """One-shot; a pattern that is no mask is projected by hand."""
    torch.manual_seed(0)
    model = Net()
    if isinstance(pattern, MaskPattern):
        recipe = csbrnn.Recipe(pattern, density, csbrnn.OneShot(), **options)
        csbrnn.prune_(model, recipe).finalize()
    else:
        with torch.no_grad():
            for name in ("weight_ih_l0", "weight_hh_l0"):
                parameter = getattr(model.lstm, name)
                parameter.copy_(pattern.project(parameter, density))
    return model


def known(pattern):
    """What `pack` must be told where no pruner knows it."""
    return {} if isinstance(pattern, MaskPattern) else {"pattern": pattern}


def test_every_pattern_that_has_a_format_is_tested():
    tested = {type(pattern) for pattern, _, _ in CASES}
    for cls in PATTERNS.values():
        assert bool(fitting_candidates(cls(), (64, 64))) == (cls in tested)


@every_case
def test_packed_saved_loaded_compiled_it_computes_the_same(pattern, density, format, tmp_path):
    model = pruned(pattern, density)
    packed = pack(model, **known(pattern))
    for name in ("weight_ih_l0", "weight_hh_l0"):
        matrix, parameter = packed.matrices[f"lstm/{name}"], getattr(model.lstm, name)
        assert isinstance(matrix, format)
        assert np.array_equal(matrix.to_dense(), parameter.detach().numpy())
        # Nothing is stored beside what the pattern keeps.
        assert matrix.kept == pattern.kept(parameter)
    save(packed, tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert packed.nbytes == loaded.nbytes

    xs = np.random.default_rng(0).standard_normal((7, INPUT)).astype(np.float32)
    with torch.no_grad():
        expected = model(torch.from_numpy(xs)).numpy()
    # fp32 sums of up to 32 products of about 0.2, over 7 steps.
    tolerance = {"rtol": 0, "atol": 2e-6}
    np.testing.assert_allclose(run_reference(loaded, xs)[0], expected, **tolerance)
    program = lower(loaded)
    np.testing.assert_allclose(run_program(program, xs)[0], expected, **tolerance)
    engine = csbrnn.compile(loaded)
    state, rows = engine.initial_state(), []
    for x in xs:
        y, state = engine.step(x, state)
        rows.append(np.array(y))
    np.testing.assert_allclose(np.stack(rows), expected, **tolerance)


@every_case
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_other_precisions(pattern, density, format, precision, tmp_path):
    packed = pack(pruned(pattern, density), precision=precision, **known(pattern))
    assert isinstance(packed.matrices["lstm/weight_hh_l0"], format)
    save(packed, tmp_path / "model")
    loaded = load(tmp_path / "model")
    xs = np.random.default_rng(0).standard_normal((3, INPUT)).astype(np.float32)
    expected = run_reference(loaded, xs)[0]
    engine = csbrnn.compile(loaded)
    state = engine.initial_state()
    for x, row in zip(xs, expected, strict=True):
        y, state = engine.step(x, state)
        # The definition is in fp64; operands of int8 products round alike but for ties.
        np.testing.assert_allclose(y, row, rtol=0, atol=2e-2 if precision == "int8" else 2e-6)


@every_case
def test_gates_pruned_apart(pattern, density, format):
    """Hidden 32: gates end where blocks do."""
    if not isinstance(pattern, MaskPattern):
        pytest.skip("projected by hand")
    model = pruned(pattern, density, scope="gate")
    packed = pack(model)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        matrix, parameter = packed.matrices[f"lstm/{name}"], getattr(model.lstm, name)
        assert isinstance(matrix, format)
        assert matrix.kept == int(parameter.count_nonzero())


def test_gates_that_end_within_blocks():
    torch.manual_seed(0)
    model = nn.LSTM(16, 10)
    recipe = csbrnn.Recipe(Block((4, 4)), 0.25, csbrnn.OneShot(), scope="gate")
    csbrnn.prune_(model, recipe).finalize()
    matrix = pack(model).matrices["lstm/weight_hh_l0"]
    assert isinstance(matrix, BSRMatrix)
    assert matrix.block == (2, 4)
    assert np.array_equal(matrix.to_dense(), model.weight_hh_l0.detach().numpy())


def test_what_is_not_circulant_is_stored_dense():
    torch.manual_seed(0)
    packed = pack(nn.LSTM(16, 16), pattern=BlockCirculant(8))
    assert isinstance(packed.matrices["lstm/weight_hh_l0"], DenseMatrix)


def test_circulant_weights_trained_by_admm():
    torch.manual_seed(0)
    model = Net()
    method = csbrnn.ADMM(admm_steps=4, retrain_steps=2, interval=1)
    pruner = csbrnn.prune_(model, csbrnn.Recipe(BlockCirculant(4), 0.25, method))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    xs = torch.randn(5, 3, INPUT)
    for _ in range(6):
        optimizer.zero_grad()
        pruner.loss(model(xs).square().mean()).backward()
        optimizer.step()
        pruner.step()
    pruner.finalize()
    packed = pack(model)
    for name in ("weight_ih_l0", "weight_hh_l0"):
        matrix = packed.matrices[f"lstm/{name}"]
        assert isinstance(matrix, CirculantMatrix)
        assert (matrix.block, matrix.density) == (4, 0.25)
    assert packed.pruning_rate == 4


def test_a_diagonal_beside_the_pattern_is_stored_in_what_holds_it_best():
    torch.manual_seed(0)
    model = nn.RNN(64, 64)
    recipe = csbrnn.Recipe(Block((16, 16)), 0.125, csbrnn.OneShot(), keep_diagonal=True)
    csbrnn.prune_(model, recipe).finalize()
    weight = model.weight_hh_l0.detach().numpy()
    assert weight.diagonal().all()
    stored = pack(model).matrices["rnn/weight_hh_l0"]
    assert np.array_equal(stored.to_dense(), weight)
    # In whole blocks the diagonal would keep a quarter of the matrix alone.
    assert stored.kept < 1.5 * np.count_nonzero(weight)
    assert stored.nbytes < BSRMatrix.from_dense(weight, (16, 16)).nbytes


def test_below_its_density_n_m_takes_no_slots_for_nothing():
    torch.manual_seed(0)
    model = nn.LSTM(128, 128)
    csbrnn.prune_(model, csbrnn.Recipe(NM(2, 4), 1 / 16, csbrnn.OneShot())).finalize()
    packed = pack(model, precision="int8")
    assert all(isinstance(m, CSRMatrix) for m in packed.products.values())
