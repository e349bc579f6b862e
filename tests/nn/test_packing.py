"""`pack`: the packed model computes what the module computes, or all reasons are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.ao.nn.quantized import reference
from torch.nn import functional
from torch.nn.utils import prune

import csbrnn
from csbrnn import cells
from csbrnn.errors import ArgumentError, ScheduleWarning, UnsupportedModelError
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import Features, PackedModel, Tokens, run_reference
from csbrnn.nn import Recurrent, pack, stack_of
from csbrnn.patterns import CSB

torch.set_num_threads(1)

SEQ_LEN, BATCH = 4, 2
LAYERS = {
    "lstm": nn.LSTM,
    "projection": lambda n, m, **o: nn.LSTM(n, 2 * m, proj_size=m, **o),
    "gru": nn.GRU,
    "rnn": lambda n, m, **o: nn.RNN(n, m, nonlinearity="relu", **o),
    "peephole": lambda n, m, **o: Recurrent(cells.LSTM_PEEPHOLE, n, m, **o),
    "ligru": lambda n, m, **o: Recurrent(cells.LIGRU, n, m, **o),
}


class Net(nn.Module):
    """Random networks of everything that can be carried."""

    def __init__(self, kinds, *, tokens, batch_first, bidirectional, layers, bias, head, mixing):
        super().__init__()
        self.tokens, self.batch_first, self.mixing = tokens, batch_first, mixing
        self.embedding = nn.Embedding(7, 4)
        self.dropout = nn.Dropout(0.5)
        self.rnns = nn.ModuleList()
        size, width = 4, 8 if bidirectional else 4
        for kind in kinds:
            options = {"num_layers": layers, "batch_first": batch_first, "bias": bias}
            rnn = LAYERS[kind](size, 4, bidirectional=bidirectional, **options)
            self.rnns.append(rnn)
            size = width + size if mixing == "concatenate" else width
        self.head = nn.Sequential(nn.Linear(size, 5, bias=bias), nn.ReLU(), nn.Linear(5, 3))
        self.final = head

    def forward(self, x):
        if self.tokens:
            x = self.embedding(x)
        for rnn in self.rnns:
            y, _ = rnn(self.dropout(x))
            if self.mixing == "concatenate":
                y = torch.cat([y, x], dim=-1)
            elif self.mixing == "residual" and y.shape[-1] == 4:
                y = y + x
            elif self.mixing == "gate":
                y = y * torch.sigmoid(y)
            x = functional.dropout(y, 0.5, self.training)
        x = self.head(x)
        if self.final == "softmax":
            return functional.softmax(x, dim=2)
        if self.final == "log_softmax":
            return x.log_softmax(-1)
        if self.final == "merged":
            return functional.log_softmax(x.reshape(-1, 3), dim=1)
        return x.tanh() if self.final == "tanh" else x


def agree(module, packed: PackedModel, *, batch_first=False, tokens=None, atol=1e-12):
    """Compares in float64: the packed weights against the module's, both exact in fp32."""
    module = module.eval().double()
    shape = (BATCH, SEQ_LEN) if batch_first else (SEQ_LEN, BATCH)
    if isinstance(packed.input, Tokens):
        x = torch.randint(0, packed.input.vocabulary, shape)
    else:
        x = torch.randn(*shape, packed.input.size, dtype=torch.float64)
    with torch.no_grad():
        y = module(x)
    y = y[0] if isinstance(y, tuple) else y
    if y.dim() == 2:
        y = y.view(*shape, -1)
    if batch_first:
        x, y = x.transpose(0, 1), y.transpose(0, 1)
    expected, _ = run_reference(packed, x.numpy())
    np.testing.assert_allclose(y.numpy(), expected, rtol=0, atol=atol)


@settings(max_examples=60, deadline=None)
@given(
    kinds=st.lists(st.sampled_from(sorted(LAYERS)), min_size=1, max_size=2),
    tokens=st.booleans(),
    batch_first=st.booleans(),
    bidirectional=st.booleans(),
    layers=st.integers(1, 2),
    bias=st.booleans(),
    head=st.sampled_from(["none", "tanh", "softmax", "log_softmax", "merged"]),
    mixing=st.sampled_from(["none", "gate", "concatenate"]),
)
def test_random_networks(batch_first, tokens, **options):
    torch.manual_seed(0)
    net = Net(tokens=tokens, batch_first=batch_first, **options)
    packed = pack(net)
    assert isinstance(packed.input, Tokens if tokens else Features)
    agree(net, packed, batch_first=batch_first)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_recurrent_layer_alone_is_a_model(kind, batch_first):
    module = LAYERS[kind](3, 4, batch_first=batch_first)
    packed = pack(module)
    assert len(packed.layers) == 1
    _, parameters = stack_of(module)
    for name, tensor in parameters.items():
        value = packed.layers[0].parameters[name]
        value = value.to_dense() if isinstance(value, DenseMatrix) else value
        assert value.tobytes() == tensor.numpy().tobytes()
    agree(module, packed, batch_first=batch_first)


class Streaming(nn.Module):
    """One step of two cells, states in and out."""

    def __init__(self, nested):
        super().__init__()
        self.nested = nested
        self.lstm, self.gru = nn.LSTMCell(3, 4), nn.GRUCell(4, 4)
        self.out = nn.Linear(4, 2)

    def forward(self, x, states):
        if self.nested:
            (h, c), g = states
        else:
            h, c, g = states
        h, c = self.lstm(x, (h, c))
        g = self.gru(h, g)
        return self.out(g), ((h, c), g) if self.nested else (h, c, g)


@pytest.mark.parametrize("nested", [False, True])
def test_cells_in_a_forward_of_one_step(nested):
    torch.manual_seed(0)
    module = Streaming(nested)
    packed = pack(module)
    module.double()
    xs = torch.randn(5, 1, 3, dtype=torch.float64)
    h, c, g = torch.zeros(3, 1, 4, dtype=torch.float64)
    states = ((h, c), g) if nested else (h, c, g)
    ys = []
    with torch.no_grad():
        for x in xs:
            y, states = module(x, states)
            ys.append(y.numpy())
    np.testing.assert_allclose(run_reference(packed, xs.numpy())[0], np.stack(ys), atol=1e-12)


class StepOfSequenceLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(3, 4, 2)

    def forward(self, x, states=None):
        y, states = self.rnn(x.unsqueeze(0), states)
        return y.squeeze(0), states


def test_a_sequence_layer_run_step_by_step():
    module = StepOfSequenceLayer()
    packed = pack(module)
    module.double()
    xs, states, ys = torch.randn(5, 1, 3, dtype=torch.float64), None, []
    with torch.no_grad():
        for x in xs:
            y, states = module(x, states)
            ys.append(y.numpy())
    np.testing.assert_allclose(run_reference(packed, xs.numpy())[0], np.stack(ys), atol=1e-12)


class Moves(nn.Module):
    """Axes moved in every way that leaves the steps whole."""

    def __init__(self):
        super().__init__()
        self.fc, self.rnn, self.out = nn.Linear(3, 4), nn.GRU(4, 5), nn.Linear(5, 1)

    def forward(self, x, h=None):
        batch, steps, _ = x.shape
        x = torch.relu(self.fc(x.contiguous().view(batch * steps, -1)))
        x = x.view(x.size(0) // steps if False else batch, steps, -1).permute(1, 0, 2)
        if h is None:
            h = torch.zeros(1, batch, 5, dtype=x.dtype, device=x.device)
        y, h = self.rnn(x, h)
        y = self.out(torch.flatten(y, 0, 1)).reshape(steps, batch, 1)
        return y.swapaxes(0, 1)[:, :, :].to(x.device), h


def test_moving_axes():
    module = Moves()
    packed = pack(module)
    assert [layer.name for layer in packed.layers] == ["fc", "relu", "rnn", "out"]
    agree(module, packed, batch_first=True)


class Tied(nn.Module):
    def __init__(self, *, functional_head):
        super().__init__()
        self.embedding, self.rnn = nn.Embedding(6, 4, padding_idx=0), nn.GRU(4, 4)
        self.functional_head = functional_head
        self.head = nn.Linear(4, 6)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        y, _ = self.rnn(self.embedding(x))
        if self.functional_head:
            return functional.linear(y, self.embedding.weight)
        return self.head(y)


@pytest.mark.parametrize("functional_head", [False, True])
def test_tied_weights_are_stored_once(functional_head):
    module = Tied(functional_head=functional_head)
    packed = pack(module)
    first, *_, last = packed.layers
    assert first.weight is last.weight
    agree(module, packed)


def test_a_transposed_view_is_another_weight():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = nn.Parameter(module[0].weight.detach().T)
    assert module[1].weight.data_ptr() == module[0].weight.data_ptr()
    agree(module, pack(module))


def test_a_scalar_output_may_lose_its_axis():
    module = Lambda(
        {"rnn": nn.GRU(3, 4), "fc": nn.Linear(4, 1)},
        lambda s, x: torch.sigmoid(s.fc(s.rnn(x)[0]).squeeze(-1)),
    )
    packed = pack(module)
    assert packed.output_size == 1
    x = torch.randn(4, 2, 3)
    expected, _ = run_reference(packed, x.numpy())
    np.testing.assert_allclose(module(x).detach().numpy(), expected[..., 0], atol=1e-6)


class Lambda(nn.Module):
    """A module of parts and a forward given as a function."""

    def __init__(self, parts, function):
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = function

    def forward(self, x):
        return self.function(self, x)


def test_training_mode_is_left_alone_and_dropout_left_out():
    module = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.9), nn.Linear(4, 2)).train()
    packed = pack(module)
    assert all(m.training for m in module.modules())
    assert [layer.name for layer in packed.layers] == ["layer0", "layer2"]


def test_formats_follow_the_pattern():
    torch.manual_seed(0)
    module = nn.GRU(32, 32)
    pattern = CSB((16, 32), row_group=16)
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0"):
            weight = getattr(module, name)
            weight.copy_(pattern.project(weight, 0.25))
    for packed in (pack(module), pack(module, pattern=pattern)):
        matrix = packed.layers[0].parameters["weight_hh_l0"]
        assert isinstance(matrix, CSBMatrix)
        assert matrix.to_dense().tobytes() == module.weight_hh_l0.detach().numpy().tobytes()
    assert matrix.blocking.block == (16, 32)
    assert matrix.blocking.row_group == 16


def test_formats_follow_the_pruner_which_must_have_ended():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.GRU(32, 32))
    recipe = csbrnn.Recipe(
        CSB((8, None), row_group=8),
        pruning_rate=4,
        method=csbrnn.Gradual(begin=0, end=2, frequency=1),
    )
    pruner = csbrnn.prune_(module, recipe)
    with pytest.warns(ScheduleWarning, match="packed before its pruning has ended"):
        pack(module)
    pruner.step()
    pruner.step()
    pruner.finalize()
    for wrapped in (module, nn.DataParallel(module)):
        packed = pack(wrapped)
        matrix = packed.layer("layer2").parameters["weight_hh_l0"]
        assert isinstance(matrix, CSBMatrix)
        assert matrix.blocking.block == (8, 32)
        assert packed.pruning_rate == pytest.approx(4, rel=0.1)
    agree(nn.Sequential(*module[:2], First(module[2])), packed)


class First(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x):
        return self.rnn(x)[0]


def test_metadata_provenance_and_copies():
    module = nn.Embedding(3, 2)
    packed = pack(module, metadata={"vocabulary": ["a", "b", "c"]}, provenance={"seed": 1})
    assert packed.metadata == {"vocabulary": ["a", "b", "c"]}
    assert packed.provenance == {"seed": 1}
    before = packed.layers[0].weight.to_dense()
    with torch.no_grad():
        module.weight.zero_()
    assert np.array_equal(packed.layers[0].weight.to_dense(), before)


def test_in_place_where_nothing_else_sees_it():
    module = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    agree(module, pack(module))


class AddsTo(nn.Module):
    """A residual by ``+=``: the branch reads before."""

    def __init__(self):
        super().__init__()
        self.first, self.branch = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x):
        seq_len, rank = x.size(0), 2
        steps = seq_len
        steps *= 1
        rank += 1
        y = self.first(x).view(seq_len, -1, rank)
        y += self.branch(y)
        return y


def test_a_residual_in_place():
    agree(module := AddsTo(), pack(module))


def test_half_precision_weights_are_taken_exactly():
    module = nn.Linear(3, 2).to(torch.bfloat16)
    weight = pack(module).layers[0].weight.to_dense()
    assert np.array_equal(weight, module.weight.detach().float().numpy())


def test_subclasses_that_inherit_forward_are_known():
    class Mine(nn.GRU):
        pass

    assert pack(nn.Sequential(nn.Linear(2, 3), Mine(3, 4))[1]).input == Features(3)


def test_input_size_where_no_layer_tells():
    module = Lambda({"fc": nn.Linear(7, 2)}, lambda s, x: s.fc(torch.cat([x, torch.tanh(x)], -1)))
    with pytest.raises(UnsupportedModelError, match="input_size="):
        pack(nn.Tanh())
    assert pack(nn.Tanh(), input_size=5).input == Features(5)
    with pytest.raises(UnsupportedModelError, match="reads 7 features, but gets 8"):
        pack(module, input_size=4)


def reasons(module, **options):
    with pytest.raises(UnsupportedModelError) as caught:
        pack(module, **options)
    return caught.value.reasons


def one_reason(module, **options):
    (reason,) = reasons(module, **options)
    return reason


def rnn_and(function, rnn=None, **parts):
    return Lambda({"rnn": rnn or nn.LSTM(3, 4), "fc": nn.Linear(4, 2), **parts}, function)


def relu_and_forget(y):
    functional.relu(y, inplace=True)
    return y


def multiply(y, r):
    r *= torch.tanh(y)
    return r


REFUSED = {
    "last step": (
        rnn_and(lambda s, x: s.fc(s.rnn(x)[0][-1])),
        "takes only some of the steps",
    ),
    "one of the batch": (
        rnn_and(lambda s, x: s.fc(s.rnn(x)[0][:, 0])),
        "selects from the batch",
    ),
    "some features": (
        rnn_and(lambda s, x: s.rnn(x)[0][..., :2]),
        "takes only some of the features",
    ),
    "final state": (
        rnn_and(lambda s, x: s.fc(s.rnn(x)[1][0])),
        "fc (Linear), test_packing.py line {}: needs the output of a layer at each step, not the "
        "final state of a layer",
    ),
    "final state returned": (
        rnn_and(lambda s, x: s.rnn(x)[1][0]),
        "forward must return the output at each step, alone or first; it has final states",
    ),
    "another tensor returned": (
        rnn_and(lambda s, x: (s.fc(s.rnn(x)[0]), s.rnn(x)[0])),
        "it also returns another tensor",
    ),
    "a dictionary": (
        rnn_and(lambda s, x: {"y": s.rnn(x)[0]}),
        "forward must return the output at each step",
    ),
    "learned initial state": (
        rnn_and(lambda s, x: s.rnn(x, (s.h0, s.h0))[0], h0=nn.Parameter(torch.ones(1, 1, 4))),
        "rnn (LSTM), test_packing.py line {}: begins with states that are neither zero nor passed",
    ),
    "state of another layer": (
        rnn_and(lambda s, x: s.other(x, s.rnn(x)[1])[0], other=nn.LSTM(3, 4)),
        "other (LSTM), test_packing.py line {}: begins with states",
    ),
    "linear over time": (
        rnn_and(lambda s, x: s.fc(s.rnn(x)[0].transpose(0, 2))),
        "acts along the last axis of (features, batch, time), not along the features",
    ),
    "softmax over time": (
        rnn_and(lambda s, x: torch.softmax(s.rnn(x)[0], dim=0)),
        "softmax, test_packing.py line {}: acts along axis 0 of (time, batch, features)",
    ),
    "implicit softmax axis": (
        rnn_and(lambda s, x: functional.softmax(s.rnn(x)[0])),
        "acts along axis 0 of (time, batch, features)",
    ),
    "concatenation in time": (
        rnn_and(lambda s, x: torch.cat([s.rnn(x)[0], s.rnn(x)[0]])),
        "cat, test_packing.py line {}: acts along axis 0",
    ),
    "unknown module": (
        rnn_and(lambda s, x: s.norm(s.rnn(x)[0]), norm=nn.LayerNorm(4)),
        "norm (LayerNorm), test_packing.py line {}: is not among the modules",
    ),
    "unknown function": (
        rnn_and(lambda s, x: functional.gelu(s.rnn(x)[0])),
        "gelu, test_packing.py line {}: is not an operation",
    ),
    "unknown method": (
        rnn_and(lambda s, x: s.rnn(x)[0].cumsum(0)),
        "cumsum, test_packing.py line {}: is not an operation",
    ),
    "scaled": (
        rnn_and(lambda s, x: s.rnn(x)[0] * 2),
        "has a constant operand to multiply; fold it",
    ),
    "parameter added": (
        rnn_and(lambda s, x: s.rnn(x)[0] + s.shift, shift=nn.Parameter(torch.ones(4))),
        "has a constant operand to add; fold it",
    ),
    "sizes that broadcast": (
        rnn_and(lambda s, x: s.rnn(x)[0] * s.gate(x), gate=nn.Linear(3, 1)),
        "needs operands of one size, not [1, 4] features",
    ),
    "max_norm": (nn.Embedding(5, 3, max_norm=1.0), "max_norm=1.0 rescales rows"),
    "float64": (nn.Linear(3, 2, bias=False).double(), "the model (Linear): weight is float64"),
    "complex": (nn.Linear(3, 2, bias=False, dtype=torch.complex64), "weight is complex64"),
    "always dropping": (
        rnn_and(lambda s, x: functional.dropout(s.rnn(x)[0])),
        "drops in evaluation mode too",
    ),
    "relu in place, its result not used": (
        rnn_and(lambda s, x: relu_and_forget(s.rnn(x)[0])),
        "relu, test_packing.py line {}: changes a tensor in place that is also used otherwise",
    ),
    "relu in place beside a residual": (
        rnn_and(lambda s, x: (y := s.rnn(x)[0]) + s.relu(y), relu=nn.ReLU(inplace=True)),
        "relu (ReLU), test_packing.py line {}: changes a tensor in place that is also used",
    ),
    "relu in place of what a dropout passed on": (
        rnn_and(
            lambda s, x: (y := s.rnn(x)[0]) * s.relu(s.drop(y)) + y,
            drop=nn.Dropout(),
            relu=nn.ReLU(inplace=True),
        ),
        "relu (ReLU), test_packing.py line {}: changes a tensor in place that is also used",
    ),
    "a product in place under another name": (
        rnn_and(lambda s, x: multiply(y := s.rnn(x)[0], y.transpose(0, 1).transpose(0, 1)) + y),
        "imul, test_packing.py line {}: changes a tensor in place that is also used otherwise",
    ),
    "rounded": (rnn_and(lambda s, x: s.rnn(x)[0].long()), "computes in another precision"),
    "half": (rnn_and(lambda s, x: s.rnn(x)[0].half()), "computes in another precision"),
    "squeeze of anything": (
        rnn_and(lambda s, x: s.rnn(x)[0].squeeze()),
        "drops every axis of length one",
    ),
    "features merged": (
        rnn_and(lambda s, x: s.rnn(x)[0].flatten(1)),
        "merges the features of (time, batch, features) with another axis",
    ),
    "cell from zero": (nn.Sequential(nn.GRUCell(3, 4)), "begins every step with zero states"),
    "the input itself": (nn.Identity(), "forward gives its input back"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    module, expected = REFUSED[name]
    found = reasons(module, input_size=3) if name == "the input itself" else reasons(module)
    before, _, after = expected.partition("{}")
    assert before in found[0]
    assert after.split(":", 1)[-1] in found[0]


def test_not_finite():
    module = nn.Linear(3, 2)
    with torch.no_grad():
        module.bias[1] = torch.nan
    assert "bias is not finite" in one_reason(module)


def test_loops_over_time_are_explained():
    class Loop(nn.Module):
        def forward(self, x):
            return torch.stack([x[t] for t in range(x.size(0))])

    reason = one_reason(Loop())
    assert "test_packing.py line" in reason
    assert "A loop over time" in reason


def test_states_in_another_order():
    class Swapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.LSTMCell(3, 4)

        def forward(self, x, states):
            h, c = self.cell(x, states)
            return h, (c, h)

    assert one_reason(Swapped()) == "states are returned in another order than they are passed in"


def test_states_that_are_lost_or_shared():
    class Lost(nn.Module):
        def __init__(self, *, shared):
            super().__init__()
            self.shared, self.a, self.b = shared, nn.GRUCell(3, 3), nn.GRUCell(3, 3)

        def forward(self, x, h, g):
            h = self.a(x, h if not self.shared else g)
            return (y := self.b(h, g)), (h if self.shared else y)

    assert one_reason(Lost(shared=False)) == "the states of a after the step are not returned"
    assert "shares its states with a" in reasons(Lost(shared=True))[0]


def test_bidirectional_step():
    class Step(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(3, 4, bidirectional=True)

        def forward(self, x, h):
            y, h = self.rnn(x.unsqueeze(0), h)
            return y.squeeze(0), h

    assert "is bidirectional, but forward takes one step" in one_reason(Step())


def test_every_reason_at_once():
    class Bad(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 6, max_norm=1.0)
            self.rnn, self.norm = nn.LSTM(6, 4), nn.LayerNorm(4)
            self.fc = nn.Linear(4, 2).double()
            self.h0 = nn.Parameter(torch.ones(1, 1, 4))

        def forward(self, x):
            y, _ = self.rnn(self.embedding(x), (self.h0, self.h0))
            return torch.softmax(self.fc(self.norm(y)), 1)

    found = reasons(Bad())
    assert [reason.split(" ")[0] for reason in found] == ["embedding", "rnn", "norm", "fc", "fc"]


def test_a_doubtful_layout_must_be_said():
    module = rnn_and(lambda s, x: torch.softmax(s.fc(s.rnn(x)[0]), dim=1))
    *_, hint = reasons(module)
    assert "pass layout='TF'" in hint
    packed = pack(module, layout="TF")
    x = torch.randn(5, 3)
    np.testing.assert_allclose(
        module(x).detach().numpy(), run_reference(packed, x.numpy())[0], atol=1e-6
    )


def test_hooks_are_refused():
    module = nn.Linear(3, 2)
    prune.random_unstructured(module, "weight", 0.5)
    assert "has forward hooks" in one_reason(module)
    prune.remove(module, "weight")
    pack(module)
    whole = nn.Sequential(module)
    handle = whole.register_forward_pre_hook(lambda module, args: (args[0] * 0.1,))
    assert "has forward hooks" in one_reason(whole)
    handle.remove()
    pack(whole)


class Remembers(nn.Module):
    """Keeps what it computed last, and has an opinion on its mode."""

    def __init__(self):
        super().__init__()
        self.rnn, self.fc = nn.LSTM(3, 4), nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.last = self.states = None
        self.scaled = False

    def train(self, mode=True):
        if self.scaled == mode:  # as adapters do that are merged for evaluation
            with torch.no_grad():
                self.fc.weight.mul_(0.5 if mode else 2)
            self.scaled = not mode
        return super().train(mode)

    def forward(self, x):
        self.calls = self.calls + 1
        y, self.states = self.rnn(input=x, hx=None)
        self.last = self.fc(y)
        return self.last


@pytest.mark.parametrize("training", [True, False])
def test_what_forward_keeps_in_attributes_is_as_it_was(training):
    module = Remembers()
    whole = nn.Sequential(module).train(training)
    whole(torch.zeros(2, 1, 3))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    last, states = module.last, module.states
    packed = pack(whole)
    assert (whole.training, module.training) == (training, training)
    assert module.last is last
    assert module.states is states
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    if not training:
        agree(module, packed)


def test_arguments_by_name_in_any_order():
    module = Lambda({"rnn": nn.GRU(3, 4)}, lambda s, x: s.rnn(hx=None, input=x)[0])
    agree(module, pack(module))


def test_parametrized_weights_are_read_as_they_take_effect():
    module = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with torch.no_grad():
        module.parametrizations.weight.original0.mul_(2)
    weight = pack(nn.Sequential(module)).layers[0].weight.to_dense()
    assert np.array_equal(weight, module.weight.detach().numpy())


def test_bad_arguments():
    with pytest.raises(ArgumentError, match=r"pack takes a torch\.nn\.Module, not str"):
        pack("model")
    with pytest.raises(ArgumentError, match=r"layout must be one of .*, not 'FT'"):
        pack(nn.Linear(2, 2), layout="FT")


def test_the_last_state_is_refused_with_what_to_do():
    class Spotter(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            _, (h, _) = self.rnn(x)
            return self.head(h[-1])

    assert any("use the layer's output at every step" in reason for reason in reasons(Spotter()))


class TwoCells(nn.Module):
    """Takes its states by given numbers."""

    def __init__(self, first, second):
        super().__init__()
        self.a, self.b = nn.GRUCell(3, 4), nn.GRUCell(4, 4)
        self.numbers = first, second

    def forward(self, x, states):
        first, second = self.numbers
        a = self.a(x, states[first])
        b = self.b(a, states[second])
        return b, (a, b)


def test_states_are_counted_from_the_first():
    pack(TwoCells(0, 1))
    assert "shares its states with" in reasons(TwoCells(1, 1))[0]
    for numbers in ((0, -1), (1, -1)):  # -1 may be any of them
        assert "counts states from the end" in reasons(TwoCells(*numbers))[0]


def test_a_lazy_module_must_have_its_shapes():
    module = nn.Sequential(nn.LazyLinear(4), nn.Linear(4, 2))
    assert list(reasons(module)) == [
        f"0.{name} is not initialized yet; run one forward pass before"
        for name in ("weight", "bias")
    ]
    module(torch.zeros(1, 3))
    pack(module)


class InAnotherPrecision(nn.Module):
    """A layer, and `change(self, y)` of what it gives."""

    def __init__(self, change):
        super().__init__()
        self.fc = nn.Linear(3, 4)
        self.register_buffer("narrow", torch.zeros(1, dtype=torch.bfloat16))
        self.change = change

    def forward(self, x):
        return self.change(self, self.fc(x))


def under_autocast(module, y):
    with torch.autocast("cpu", torch.bfloat16):
        return torch.tanh(y)


@pytest.mark.parametrize(
    "change",
    [
        lambda s, y: functional.softmax(y, -1, dtype=torch.bfloat16),
        lambda s, y: torch.softmax(y, -1, torch.bfloat16),
        lambda s, y: y.log_softmax(-1, dtype=torch.bfloat16),
        lambda s, y: y.type_as(s.narrow),
        lambda s, y: y.to(s.narrow),
        under_autocast,
    ],
)
def test_another_precision_is_refused_however_it_is_asked_for(change):
    assert "computes in another precision" in reasons(InAnotherPrecision(change))[0]


def test_autocast_around_a_model_is_none_of_its_own():
    with torch.autocast("cpu", torch.bfloat16):
        pack(InAnotherPrecision(lambda s, y: functional.softmax(y, -1, dtype=torch.float32)))


def test_library_modules_that_compute_something_else_are_refused():
    rounding = {"qscheme": torch.per_tensor_affine, "dtype": torch.qint8, "scale": 0.1}
    module = reference.Linear(3, 4, weight_qparams=rounding | {"zero_point": 0})
    assert "computes something else than Linear does" in one_reason(nn.Sequential(module))
    pack(nn.Sequential(nn.modules.linear.NonDynamicallyQuantizableLinear(3, 4)))


def test_functions_take_weights_of_zeros():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.zeros(7, 3))
            self.weight, self.bias = nn.Parameter(torch.zeros(4, 3)), nn.Parameter(torch.zeros(4))

        def forward(self, tokens):
            y = functional.embedding(tokens, self.table)
            return functional.linear(y, weight=self.weight, bias=self.bias.float())

    packed = pack(Functional())
    assert [tuple(m.shape) for m in packed.matrices.values()] == [(7, 3), (4, 3)]


@pytest.mark.parametrize(
    "dropout",
    [nn.Dropout(0.5, inplace=True), lambda y: functional.dropout(y, 0.5, False, inplace=True)],
    ids=["module", "function"],
)
def test_dropout_in_place_changes_nothing(dropout):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head, self.dropout = nn.LSTM(3, 4), nn.Linear(4, 2), dropout

        def forward(self, x):
            y, _ = self.rnn(x)
            return self.head(self.dropout(y)) + self.head(y)

    module = Residual().eval()
    x = torch.randn(5, 3)
    np.testing.assert_allclose(
        module(x).detach().numpy(), run_reference(pack(module), x.numpy())[0], atol=1e-6
    )


def test_states_of_a_dictionary_go_by_number():
    class Numbered(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.GRUCell(3, 4), nn.GRUCell(4, 4)

        def forward(self, x, states):
            a = self.a(x, states[2])
            b = self.b(a, states[10])
            return b, {2: a, 10: b}

    pack(Numbered())
