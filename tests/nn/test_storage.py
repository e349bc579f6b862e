"""Which precision, format and blocks `pack` stores each weight in."""

import numpy as np
import pytest
import torch
from torch import nn

import csbrnn
from csbrnn.errors import ArgumentError, ScheduleWarning, UnsupportedModelError
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import quantize
from csbrnn.nn import pack
from csbrnn.nn import values as nn_values
from csbrnn.numerics import BF16, FP32, INT8, PRECISIONS
from csbrnn.patterns import CSB
from csbrnn.pruning import unwrap

torch.set_num_threads(1)

every_precision = pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)


class Tagger(nn.Module):
    def __init__(self, hidden=32):
        super().__init__()
        self.table = nn.Embedding(11, 24)
        self.rnn = nn.GRU(24, hidden)
        self.head = nn.Linear(hidden, 11)

    def forward(self, tokens):
        return self.head(self.rnn(self.table(tokens))[0])


def finalized(model, pattern=None, density=0.25, **options):
    recipe = csbrnn.Recipe(pattern or CSB((16, 32), 16), density, csbrnn.OneShot(), **options)
    csbrnn.prune_(model, recipe).finalize()
    return model


def matrix(packed, name="rnn/weight_hh_l0"):
    return packed.matrices[name]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@every_precision
@pytest.mark.parametrize("named", [True, False])
def test_precision_after_training(precision, named):
    """What an untrained model is rounded to is what `quantize` makes of it."""
    model = finalized(Tagger())
    packed = pack(model, precision=precision.name if named else precision)
    expected = quantize(pack(model), precision)
    assert packed.precision == precision.name
    for name, stored in packed.matrices.items():
        assert stored.precision is (FP32 if name == "table/weight" else precision)
        assert np.array_equal(stored.to_dense(), expected.matrices[name].to_dense())


@every_precision
def test_weights_trained_for_a_precision_are_stored_in_it_without_loss(precision):
    model = finalized(Tagger(), precision=precision)
    packed = pack(model)
    assert packed.precision == precision.name
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            stored = matrix(packed, name.replace(".", "/"))
            assert stored.precision is (FP32 if name == "table.weight" else precision)
            assert np.array_equal(stored.to_dense(), parameter.detach().numpy())
    assert pack(model, precision="fp32").precision == "fp32"


def test_what_forward_passes_saw_is_stored_also_without_finalize():
    model = Tagger()
    csbrnn.prune_(model, csbrnn.Recipe("csb", 1.0, csbrnn.OneShot(), precision="int8"))
    tokens = torch.randint(0, 11, (5, 2))
    seen = model(tokens).detach()
    packed = pack(model)
    twin = Tagger()
    state = model.state_dict()
    for name in ("rnn.weight_ih_l0", "rnn.weight_hh_l0", "head.weight"):
        state[name] = torch.from_numpy(matrix(packed, name.replace(".", "/")).to_dense())
    twin.load_state_dict(state)
    assert torch.equal(twin(tokens), seen)


def test_weights_kept_in_fp32_by_the_recipe_and_by_pack():
    model = finalized(Tagger(), precision="int8", keep_fp32=("head.*",))
    packed = pack(model)
    assert (matrix(packed).precision, packed.matrices["head/weight"].precision) == (INT8, FP32)
    packed = pack(model, precision="bf16", keep_fp32="rnn/weight_ih*")
    assert matrix(packed).precision is BF16
    assert packed.matrices["rnn/weight_ih_l0"].precision is FP32
    assert packed.matrices["head/weight"].precision is FP32


def test_a_parametrized_weight_is_kept_in_fp32_by_its_name():
    model = Tagger()
    nn.utils.parametrizations.weight_norm(model.head)
    packed = pack(finalized(model, precision="int8", keep_fp32=("head.weight",)))
    assert packed.matrices["head/weight"].precision is FP32
    assert packed.matrices["rnn/weight_hh_l0"].precision is INT8


def test_a_tied_table_stays_and_its_product_is_rounded():
    model = Tagger(24)
    model.head.weight = model.table.weight
    packed = pack(finalized(model, precision="int8"))
    table, head = packed.matrices["table/weight"], packed.matrices["head/weight"]
    assert (table.precision, head.precision) == (FP32, INT8)
    assert np.array_equal(table.to_dense(), head.to_dense())


def test_weights_that_training_did_not_round_are_told():
    class Functional(Tagger):
        def forward(self, tokens):
            return self.head(nn.functional.linear(self.rnn(self.table(tokens))[0], self.mix))

    model = Functional()
    model.mix = nn.Parameter(torch.randn(32, 32))
    finalized(model, precision="int8")
    with pytest.warns(ScheduleWarning, match=r"^linear/weight are rounded, but were not while"):
        packed = pack(model)
    assert packed.matrices["linear/weight"].precision is INT8
    pack(model, precision="bf16")
    pack(model, keep_fp32=["linear/*"])


def test_tracing_reads_parameters_where_forward_passes_would_round():
    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 16))

        def prunable_weights(self):
            return [("weight", 1)]

        def forward(self, x):
            return nn.functional.linear(x, self.weight)

    model = nn.Sequential(nn.Linear(8, 16), Mix())
    recipe = csbrnn.Recipe("csb", 0.5, csbrnn.OneShot(), precision="int8")
    pruner = csbrnn.prune_(model, recipe)
    packed = pack(model)
    assert [m.precision for m in packed.matrices.values()] == [INT8, INT8]
    stored = packed.layers[1].weight.to_dense()
    pruner.finalize()
    assert np.array_equal(stored, model[1].weight.detach().numpy())


def test_what_cannot_be_rounded():
    with pytest.raises(
        ArgumentError, match="must be one of fp32, bf16, int8, fixed16, fixed12, not 'int4'"
    ):
        pack(Tagger(), precision="int4")
    with pytest.raises(ArgumentError, match="keep_fp32: 'lstm' fits no matrix"):
        pack(Tagger(), keep_fp32=["lstm"])
    wide = nn.Sequential(nn.Linear(133_145, 1))
    with pytest.raises(UnsupportedModelError, match="has 133145 columns, more than the 133144"):
        pack(wide, precision="int8")
    assert pack(wide, precision="int8", keep_fp32=["layer0/*"]).precision == "fp32"


def test_the_format_is_the_smallest_in_the_precision_stored():
    """Indices weigh more beside one byte than beside four: dense wins earlier."""
    model = nn.GRU(64, 64)
    with torch.no_grad():
        for weight in (model.weight_ih_l0, model.weight_hh_l0):
            weight.masked_fill_(torch.rand(weight.shape) < 0.08, 0)
    assert isinstance(matrix(pack(model), "gru/weight_hh_l0"), CSBMatrix)
    assert isinstance(matrix(pack(model, precision="int8"), "gru/weight_hh_l0"), DenseMatrix)


PATTERNS = [
    CSB((16, 32), 16),
    CSB((64, 64), 16),
    CSB((64, 64), 1),
    CSB((32, 16), 4),
    CSB((None, 32), 8),
    CSB((None, None), 16),
]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@pytest.mark.parametrize("scope", ["matrix", "gate", "global"])
@every_precision
def test_files_keep_the_blocks_of_the_pattern(pattern, scope, precision):
    model = finalized(nn.LSTM(64, 64), pattern, scope=scope, precision=precision.name)
    stored = matrix(pack(model), "lstm/weight_hh_l0")
    assert isinstance(stored, CSBMatrix)
    rows, cols = pattern.block
    height = 64 if scope == "gate" else 256
    assert (stored.block, stored.row_group) == ((rows or height, cols or 64), pattern.row_group)
    kept = int(model.weight_hh_l0.count_nonzero())
    # Weights that became zero are stored, unless their whole line did.
    assert kept <= stored.kept <= (1 if precision is FP32 else 1.1) * kept


def test_gates_whose_ends_are_no_ends_of_blocks():
    model = finalized(nn.LSTM(48, 40), CSB((16, 16), 8), scope="gate")
    stored = matrix(pack(model), "lstm/weight_hh_l0")
    assert (stored.block, stored.row_group) == ((8, 16), 8)
    assert stored.kept == model.weight_hh_l0.count_nonzero()


def test_a_given_pattern_decides_without_a_pruner():
    model, pattern = nn.GRU(64, 64), CSB((64, 64), 16)
    with torch.no_grad():
        for weight in (model.weight_ih_l0, model.weight_hh_l0):
            weight.copy_(pattern.project(weight, 0.25))
    stored = matrix(pack(model, pattern=pattern, precision="int8"), "gru/weight_hh_l0")
    assert (stored.block, stored.row_group) == ((64, 64), 16)
    # Finding by trying may take another cut that is smaller, and never a larger one.
    tried = matrix(pack(model, precision="int8"), "gru/weight_hh_l0")
    assert tried.nbytes <= stored.nbytes


def test_every_weight_is_looked_through_for_infinities_once(monkeypatch):
    model = nn.LSTM(8, 8, 2)
    looked, isfinite = [], torch.Tensor.isfinite

    def count(tensor):
        looked.append(nn_values.tensor_key(tensor))
        return isfinite(tensor)

    monkeypatch.setattr(torch.Tensor, "isfinite", count)
    pack(model)
    assert len(looked) == len(set(looked)) == 8


def test_unwrap_is_public():
    model = nn.Linear(2, 2)
    assert unwrap(nn.DataParallel(model)) is model
    assert unwrap(model) is model


def test_what_a_part_was_pruned_to_is_known_when_the_whole_is_packed():
    model = Tagger()
    finalized(model.rnn, precision="int8")
    with pytest.warns(ScheduleWarning, match="head/weight are rounded, but were not"):
        packed = pack(model)
    assert isinstance(matrix(packed), CSBMatrix)
    assert matrix(packed).blocking.block == (16, 32)
    assert matrix(packed).dtype == "int8"
    assert packed.activation_scales == {}


def test_what_the_whole_was_pruned_to_is_known_when_a_part_is_packed():
    model = finalized(Tagger(), precision="bf16")
    packed = pack(model.rnn)
    (stored,) = (m for name, m in packed.matrices.items() if name.endswith("weight_hh_l0"))
    assert isinstance(stored, CSBMatrix)
    assert stored.dtype == "bf16"


def test_parts_trained_for_different_precisions_need_a_word():
    model = Tagger()
    finalized(model.rnn, precision="int8")
    csbrnn.prune_(
        model.head,
        csbrnn.Recipe(CSB((1, 4)), 0.5, csbrnn.OneShot(), linear=True, precision="bf16"),
    ).finalize()
    with pytest.raises(ArgumentError, match="trained for bf16 and int8: pass precision="):
        pack(model)
    assert matrix(pack(model, precision="fp32")).dtype == "fp32"


def test_an_unfinished_part_is_told():
    model = Tagger()
    pruner = csbrnn.prune_(model.rnn, csbrnn.Recipe(CSB((16, 32)), 0.25, csbrnn.OneShot(at=5)))
    with pytest.warns(ScheduleWarning, match="packed before its pruning has ended"):
        pack(model)
    pruner.detach()
