import pytest
import torch
from torch import nn

from csbrnn.errors import RecipeError, ScheduleWarning
from csbrnn.patterns import CSB, BankBalanced, Block, RowBalanced, Unstructured
from csbrnn.pruning import OneShot, Recipe, prune_
from csbrnn.pruning.targets import find_targets, unwrap

from .models import Tagger, recipe


def found(model, **options):
    return [(target.name, target.gates) for target in find_targets(model, recipe(**options))]


def test_lstm_with_layers_directions_and_projection():
    model = nn.LSTM(4, 8, num_layers=2, bidirectional=True, proj_size=3)
    gates = {"ih": 4, "hh": 4, "hr": 1}
    assert found(model) == [
        (f"weight_{kind}_l{layer}{direction}", gates[kind])
        for layer in (0, 1)
        for direction in ("", "_reverse")
        for kind in ("ih", "hh", "hr")
    ]


@pytest.mark.parametrize(("cls", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers(cls, gates):
    model = nn.ModuleDict({"encoder": cls(4, 8, bias=False)})
    assert found(model) == [("encoder.weight_ih_l0", gates), ("encoder.weight_hh_l0", gates)]


@pytest.mark.parametrize(("cls", "gates"), [(nn.LSTMCell, 4), (nn.GRUCell, 3), (nn.RNNCell, 1)])
def test_cells(cls, gates):
    assert found(cls(4, 8)) == [("weight_ih", gates), ("weight_hh", gates)]


class OwnCell(nn.Module):
    def __init__(self, rows=6):
        super().__init__()
        self.u = nn.Parameter(torch.randn(rows, 4))
        self.v = nn.Parameter(torch.randn(rows, 4))

    def prunable_weights(self):
        yield "u", 2


def test_modules_that_name_their_weights():
    assert found(nn.Sequential(OwnCell())) == [("0.u", 2)]


def test_linear_on_request_only():
    assert [name for name, _ in found(Tagger())] == ["encoder.weight_ih_l0", "encoder.weight_hh_l0"]
    assert ("head.weight", 1) in found(Tagger(), linear=True)


def test_filters():
    model = nn.ModuleDict({"encoder": nn.GRU(4, 8, 2), "decoder": nn.GRU(4, 8)})
    assert found(model, include=("encoder.*",), exclude=("*_ih_*", "*_l1")) == [
        ("encoder.weight_hh_l0", 3)
    ]


def test_the_first_matching_glob_sets_density_and_pattern():
    plan = recipe(
        densities={"encoder.weight_hh*": 0.5, "encoder.*": 0.75},
        patterns={"*_ih_*": Unstructured()},
    )
    by_name = {target.name: target for target in find_targets(Tagger(), plan)}
    assert by_name["encoder.weight_hh_l0"].density == 0.5
    assert by_name["encoder.weight_ih_l0"].density == 0.75
    assert by_name["encoder.weight_ih_l0"].pattern == Unstructured()
    assert by_name["encoder.weight_hh_l0"].pattern == CSB((4, 4))


def test_shared_weights_are_one_target_with_two_names():
    model = nn.ModuleList([nn.LSTMCell(4, 4), nn.LSTMCell(4, 4)])
    model[1].weight_hh = model[0].weight_hh
    targets = find_targets(model, recipe(densities={"1.weight_hh": 0.5}))
    assert [t.names for t in targets] == [
        ("0.weight_ih",),
        ("0.weight_hh", "1.weight_hh"),
        ("1.weight_ih",),
    ]
    assert targets[1].density == 0.5


def test_a_module_used_twice_is_no_obstacle():
    cell = nn.LSTMCell(4, 4)
    assert len(found(nn.ModuleList([cell, cell]))) == 2


def tied():
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 16), "decoder": nn.Linear(16, 5)})
    model["decoder"].weight = model["embedding"].weight
    return model


def parametrized():
    model = Tagger()
    nn.utils.parametrizations.weight_norm(model.encoder, "weight_hh_l0")
    return model


def frozen():
    model = Tagger()
    model.encoder.weight_ih_l0.requires_grad_(False)
    return model


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: nn.Linear(2, 2), {}, "it holds no nn.RNN.*; set linear=True"),
        (nn.ReLU, {"linear": True}, r"it holds no nn.RNN.*prunable_weights\(\)$"),
        (Tagger, {"include": ("decoder.*",)}, r"include: 'decoder.\*' matches none of its weights"),
        (
            Tagger,
            {"exclude": ("decoder",)},
            "exclude: 'decoder' matches none .*: encoder.weight_ih",
        ),
        (Tagger, {"densities": {"x": 0.5}}, "densities: 'x' matches none"),
        (Tagger, {"patterns": {"x": CSB()}}, "patterns: 'x' matches none"),
        (Tagger, {"exclude": ("*",)}, r"exclude=\['\*'\] leave none of its weights: encoder"),
        (parametrized, {}, "encoder.weight_hh_l0 is computed from other parameters .*weight_norm"),
        (frozen, {}, r"encoder.weight_ih_l0 is frozen \(requires_grad is False\)"),
        (tied, {"linear": True}, "decoder.weight is the same tensor as embedding.weight"),
        (lambda: OwnCell(7), {}, "u has 7 rows, which 2 gates can't share"),
        (lambda: nn.LSTM(4, 4, device="meta"), {}, "weight_ih_l0 is on the meta device"),
        (lambda: nn.LazyLinear(4), {"linear": True}, "weight is not initialized yet"),
    ],
)
def test_refused_models(make, options, message):
    with pytest.raises(RecipeError, match=message):
        find_targets(make(), recipe(**options))


def test_all_reasons_come_at_once():
    model = parametrized()
    model.encoder.weight_ih_l0.requires_grad_(False)
    with pytest.raises(RecipeError) as error:
        find_targets(model, recipe(exclude=("nothing",)))
    assert str(error.value).startswith("can't prune Tagger:\n")
    assert str(error.value).count("\n  - ") == 3


def test_wrapped_models_are_unwrapped():
    model = Tagger()
    wrapped = nn.DataParallel(model)
    wrapped._orig_mod = wrapped.module  # as torch.compile does
    assert unwrap(wrapped) is model


@pytest.mark.parametrize(
    ("pattern", "rate", "least"),
    [(BankBalanced(16), 20, 16), (RowBalanced(), 600, 64), (Block((16, 16)), 300, 10)],
    ids=str,
)
def test_rates_that_leave_nothing_are_refused(pattern, rate, least):
    model = nn.LSTM(64, 64)
    message = r"weight_ih_l0: a density of 0\.\d+ would leave nothing: .* finds no place for as few"
    with pytest.raises(RecipeError, match=message):
        prune_(model, Recipe(pattern, pruning_rate=rate, method=OneShot()))
    prune_(model, Recipe(pattern, pruning_rate=least, method=OneShot())).finalize()
    assert model.weight_ih_l0.any()


def test_a_shared_budget_that_leaves_a_matrix_nothing_is_told():
    model = nn.LSTM(64, 64)
    with torch.no_grad():
        model.weight_ih_l0 *= 0.01
    pruner = prune_(model, Recipe(CSB((4, 16)), pruning_rate=8, method=OneShot(), scope="global"))
    with pytest.warns(ScheduleWarning, match="weight_ih_l0 lost every weight"):
        pruner.finalize()


def test_nothing_to_prune_is_said_whatever_the_scope():
    for scope in ("matrix", "gate", "global"):
        model = nn.LSTM(4, 8).requires_grad_(False)
        with pytest.raises(RecipeError, match="is frozen"):
            prune_(model, Recipe("unstructured", 0.5, OneShot(), scope=scope))
