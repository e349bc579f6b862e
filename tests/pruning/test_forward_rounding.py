"""Forward passes see rounded weights; everything else sees the parameters, at all times."""

import copy
import io
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from csbrnn import cells
from csbrnn.errors import ArgumentError, CsbrnnError, RecipeError, ScheduleWarning
from csbrnn.nn import Recurrent, pack
from csbrnn.numerics import BF16, FP32, INT8
from csbrnn.pruning import ADMM, Distillation, Gradual, OneShot, prune_
from csbrnn.pruning.rounding import rounded

from .models import Tagger, batch, recipe, task_loss, train


def quantized(model, precision="int8", **options):
    """A pruner whose model is rounded from the first step on; nothing is dropped by default."""
    return prune_(model, recipe(precision=precision, **({"density": 1.0} | options)))


def first(output):
    while isinstance(output, tuple):
        output = output[0]
    return output


def plain_twin(model, precision=INT8, except_for=()):
    """The oracle: a copy whose parameters are rounded in place."""
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            if "weight" in name and name not in except_for:
                parameter.copy_(rounded(parameter, precision))
    return twin


class Loop(nn.Module):
    """Cells in a loop, and a weight that forward reads itself."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell
        self.head = nn.Linear(cell.hidden_size, 5)

    def forward(self, x):
        states, ys = None, []
        for step in x.unbind(1):
            states = self.cell(step, states)
            ys.append(first(states))
        return nn.functional.linear(torch.stack(ys, 1), self.head.weight)


MODELS = {
    "lstm": lambda: nn.LSTM(8, 6, batch_first=True),
    "lstm, stacked": lambda: Tagger(hidden=7, num_layers=2, bidirectional=True),
    "lstm, projected": lambda: Tagger(hidden=9, proj_size=4),
    "gru": lambda: nn.GRU(8, 6, 2, bias=False, batch_first=True),
    "rnn": lambda: nn.RNN(8, 6, batch_first=True, nonlinearity="relu"),
    "lstm cell": lambda: Loop(nn.LSTMCell(8, 6)),
    "gru cell": lambda: Loop(nn.GRUCell(8, 6)),
    "rnn cell": lambda: Loop(nn.RNNCell(8, 6)),
    "ligru": lambda: Recurrent(cells.LIGRU, 8, 6, 2, batch_first=True),
    "peephole": lambda: Recurrent(cells.LSTM_PEEPHOLE, 8, 6, batch_first=True),
}
every_model = pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@every_model
@pytest.mark.parametrize("precision", [INT8, BF16], ids=str)
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_are_those_of_rounded_weights(make, precision, training):
    model = make().train(training)
    # Peepholes are vectors: they are not rounded.
    vectors = [n for n, p in model.named_parameters() if p.ndim == 1]
    twin = plain_twin(model, precision, vectors)
    pruner = quantized(model, precision.name)
    assert pruner.rounding
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, _ = batch(0)
    output, expected = first(model(x)), first(twin(x))
    assert torch.equal(output, expected)
    factor = torch.randn_like(output)
    (output * factor).sum().backward()
    (expected * factor).sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert mine.grad is None if theirs.grad is None else torch.equal(mine.grad, theirs.grad)
        assert torch.equal(mine, before[name]), "a parameter was changed"
    for without in (torch.no_grad, torch.inference_mode):
        with without():
            assert torch.equal(first(model(x)), first(twin(x)))
    pruner.finalize()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs), name


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@every_model
def test_nothing_is_left_after_a_forward_pass(make):
    model = make()
    quantized(model)
    model(batch(0)[0])
    for module in model.modules():
        assert not set(module.__dict__) & set(module._parameters)
        if isinstance(module, nn.RNNBase):
            names = module._flat_weights_names
            assert all(
                w is getattr(module, n) for w, n in zip(module._flat_weights, names, strict=True)
            )
            assert not module._weights_have_changed()


def test_the_optimizer_moves_the_parameters_themselves():
    """One step by hand: full precision, minus the rate times the gradient at rounded weights."""
    model = Tagger()
    twin = plain_twin(model)
    pruner = quantized(model)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, lr=0.5)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    task_loss(twin(batch(0)[0]), batch(0)[1]).backward()
    train(model, optimizer, pruner, 1)
    assert [id(p) for p in model.parameters()] == [id(p) for p in parameters]
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, before[name] - 0.5 * theirs.grad), name
    assert not torch.equal(mine, rounded(mine[None], INT8)[0])


def test_inside_of_forward_only_attributes_are_rounded():
    class Curious(Tagger):
        def forward(self, x):
            self.found = {
                "attribute": self.encoder.weight_hh_l0,
                "parameters": dict(self.named_parameters())["encoder.weight_hh_l0"],
                "state": self.state_dict()["encoder.weight_hh_l0"],
            }
            return super().forward(x)

    model = Curious()
    quantized(model)
    model(batch(0)[0])
    weight = model.encoder.weight_hh_l0
    assert model.found["parameters"] is weight
    assert torch.equal(model.found["state"], weight)
    assert torch.equal(model.found["attribute"], rounded(weight, INT8))
    with pytest.raises(ValueError, match="non-leaf"):
        torch.optim.SGD([model.found["attribute"]], lr=1)


def test_several_forward_passes_before_a_step_and_evaluation_in_between():
    model = Tagger()
    twin = plain_twin(model)
    quantized(model)
    (x, labels), (other, other_labels) = batch(0), batch(1)
    losses = [task_loss(model(x), labels)]
    with torch.no_grad():
        model.eval()(other)
        model.train()
        torch.save(model.state_dict(), io.BytesIO())
    losses.append(task_loss(model(other), other_labels))
    sum(losses).backward()
    (task_loss(twin(x), labels) + task_loss(twin(other), other_labels)).backward()
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine.grad, theirs.grad)


def test_a_module_run_alone_is_rounded_too():
    model = Tagger()
    twin = plain_twin(model)
    quantized(model)
    x, _ = batch(0)
    assert torch.equal(model.head(model.encoder(x)[0]), twin(x))


def test_a_model_that_calls_itself():
    class Tree(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = nn.GRUCell(8, 8)

        def forward(self, x, depth):
            below = self(x, depth - 1) if depth else torch.zeros_like(x)
            return self.cell(x, below)

    model = Tree()
    twin = plain_twin(model)
    quantized(model)
    x = torch.randn(3, 8)
    assert torch.equal(model(x, 3), twin(x, 3))
    assert "weight_hh" not in model.cell.__dict__


def test_shared_weights_are_rounded_once_and_everywhere():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding, self.rnn = nn.Embedding(9, 8), nn.GRU(8, 8, batch_first=True)
            self.head = nn.Linear(8, 9, bias=False)
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            return self.head(self.rnn(self.embedding(tokens))[0])

    model = Tied()
    twin = plain_twin(model)
    quantized(model)
    tokens = torch.arange(6).view(2, 3)
    output, expected = model(tokens), twin(tokens)
    assert torch.equal(output, expected)
    output.sum().backward()
    expected.sum().backward()
    assert torch.equal(model.embedding.weight.grad, twin.embedding.weight.grad)


def test_a_forward_pass_that_fails_leaves_nothing():
    model = Tagger()
    quantized(model)
    with pytest.raises(RuntimeError):
        model(torch.zeros(2, 3, 9))
    assert "weight_hh_l0" not in model.encoder.__dict__
    assert model.encoder._flat_weights[1] is model.encoder.weight_hh_l0


def test_an_interrupted_forward_pass_is_overcome():
    class Interrupted(Tagger):
        interrupt = True

        def forward(self, x):
            if self.interrupt:
                raise KeyboardInterrupt
            return super().forward(x)

    model = Interrupted()
    pruner = quantized(model)
    with pytest.raises(KeyboardInterrupt):
        model(batch(0)[0])
    # torch runs no hook then: what was shown stays. The next forward pass must not believe it.
    model.interrupt = False
    with torch.no_grad():
        model.encoder._parameters["weight_hh_l0"].mul_(1.005)
    twin = Tagger()
    twin.load_state_dict(model.state_dict())
    x, _ = batch(0)
    assert torch.equal(model(x), plain_twin(twin)(x))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), pruner, 1)
    assert "weight_hh_l0" not in model.encoder.__dict__
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(x), plain_twin(twin)(x))
    assert "weight_hh_l0" not in model.encoder.__dict__


def test_a_model_set_up_in_inference_mode_trains():
    model = Tagger()
    with torch.inference_mode():
        pruner = prune_(model, recipe(ADMM(2, 2, interval=1), distill=Distillation()))
        state = pruner.state_dict()
        pruner.load_state_dict(state)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), pruner, 4)
    pruner.finalize()
    assert pruner.report().density == 0.25


def test_after_an_interrupt_what_is_loaded_is_packed():
    class Interrupted(Tagger):
        interrupt = True

        def forward(self, x):
            y = super().forward(x)
            if self.interrupt:
                raise KeyboardInterrupt
            return y

    model = Interrupted()
    quantized(model).finalize()
    best = {name: value + 1 for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        model(batch(0)[0])
    model.load_state_dict(best)
    model.interrupt = False
    packed = pack(model, precision="fp32")
    head = packed.matrices["head/weight"].to_dense()
    assert np.array_equal(head, best["head.weight"].numpy())
    copy.deepcopy(model)


def test_forward_passes_in_several_threads():
    model = Tagger().eval()
    quantized(model)
    x, _ = batch(0)
    expected = model(x)
    entered, wrong = threading.Barrier(2), []

    def wait(module, args):
        entered.wait()

    model.encoder.register_forward_pre_hook(wait)

    def run():
        wrong.append(not torch.equal(model(x), expected))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False, False]


def test_weights_written_without_a_trace_are_rounded_anew():
    """Assignment to .data, as some optimizers and averaging do, leaves no version behind."""
    model = Tagger()
    quantized(model)
    x, _ = batch(0)
    model(x)
    model.encoder.weight_hh_l0.data.mul_(1.7)
    twin = Tagger()
    twin.load_state_dict(model.state_dict())
    assert torch.equal(model(x), plain_twin(twin)(x))


def test_a_copy_and_a_saved_model_are_plain():
    model = Tagger()
    pruner = quantized(model)
    twin = copy.deepcopy(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    x, _ = batch(0)
    expected = model(x)
    pruner.detach()
    full = model(x)
    assert not torch.equal(full, expected)
    assert torch.equal(twin(x), full)
    assert torch.equal(loaded(x), full)
    assert not model.encoder._forward_hooks
    pruner.finalize()
    assert torch.equal(model(x), full)


def test_checkpointed_segments_round_again_in_the_backward_pass():
    class Segmented(Tagger):
        reentrant = False

        def forward(self, x):
            y = checkpoint(lambda z: self.encoder(z)[0], x, use_reentrant=self.reentrant)
            return self.head(y)

    for reentrant in (False, True):
        model = Segmented()
        model.reentrant = reentrant
        twin = plain_twin(model)
        quantized(model)
        x = batch(0)[0].requires_grad_()
        for module in (model, twin):
            module(x).sum().backward()
        for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            assert torch.equal(mine.grad, theirs.grad)


# Dynamo looks at .grad of what is no leaf, and instantiates torch.autograd.Function.
@pytest.mark.filterwarnings("ignore:.*not a leaf Tensor:UserWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("begin", [0, 2])
@pytest.mark.parametrize("used_before", [False, True])
@pytest.mark.parametrize("make", [Tagger, lambda: Loop(nn.LSTMCell(8, 6))], ids=["lstm", "cell"])
def test_compiled_models(make, used_before, begin):
    """Hooks come, and rounding begins, after a module was compiled; graphs must follow."""
    model = make()
    compiled = torch.compile(model, backend="eager")
    if used_before:
        compiled(batch(0)[0])
    pruner = quantized(compiled, quantize_from=begin)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for number in range(4):
        twin = make()
        twin.load_state_dict(model.state_dict())
        twin = plain_twin(twin) if number >= begin else twin
        x, labels = batch(number)
        task_loss(twin(x), labels).backward()
        train(compiled, optimizer, pruner, 1, number)
        for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
            if theirs.grad is not None:
                torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-5, atol=1e-7)
    assert "weight" not in model.head.__dict__


def test_replicas_of_data_parallel_are_refused():
    model = Tagger()
    quantized(model)
    replica = model._replicate_for_data_parallel()
    with pytest.raises(CsbrnnError, match="train for int8 with DistributedDataParallel"):
        replica(batch(0)[0])


def test_a_model_in_half_precision_is_refused():
    model = Tagger()
    quantized(model)
    model.half()
    with pytest.raises(CsbrnnError, match=r"must stay float32 .* but is torch.float16"):
        model(batch(0)[0].half())
    assert "weight_hh_l0" not in model.encoder.__dict__
    with pytest.raises(RecipeError, match=r"encoder.weight_ih_l0 must be float32, not torch.bflo"):
        quantized(Tagger().bfloat16())


def test_weights_kept_in_fp32():
    model = Tagger()
    twin = plain_twin(model, except_for=("head.weight",))
    pruner = quantized(model, keep_fp32=("head.*",))
    x, _ = batch(0)
    assert torch.equal(model(x), twin(x))
    assert pruner.precision_of("head.weight") is FP32
    assert pruner.precision_of("encoder.weight_hh_l0") is INT8
    with pytest.raises(RecipeError, match=r"keep_fp32: 'tail' matches none of its weights"):
        quantized(Tagger(), keep_fp32=("tail",))


def test_all_reasons_why_weights_cannot_be_rounded():
    model = Tagger()
    model.wide = nn.Linear(133_145, 1)
    model.lazy = nn.LazyLinear(3)
    nn.utils.parametrizations.weight_norm(model.head)
    with pytest.raises(RecipeError) as error:
        quantized(model)
    text = str(error.value)
    assert "can't train Tagger for int8" in text
    assert "head.weight is computed from other parameters" in text
    assert "wide.weight has 133145 columns, more than the 133144" in text
    assert "lazy.weight is not initialized yet" in text
    quantized(model, keep_fp32=("head.*", "wide.*", "lazy.*"))


@pytest.mark.parametrize(
    ("method", "begin"),
    [(OneShot(), 0), (Gradual(1, 3, 1), 3), (ADMM(2, 2, interval=1), 2), (ADMM(2, 1, 1, 1), 3)],
)
@pytest.mark.parametrize("given", [None, 1])
def test_when_rounding_begins(method, begin, given):
    model = Tagger()
    pruner = prune_(model, recipe(method, precision="bf16", quantize_from=given))
    x, _ = batch(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for step in range(5):
        active = step >= (begin if given is None else given)
        assert pruner.rounding == active
        twin = Tagger()
        twin.load_state_dict(model.state_dict())
        assert torch.equal(model(x), (plain_twin(twin, BF16) if active else twin)(x))
        train(model, optimizer, pruner, 1, step)


@pytest.mark.parametrize("distill", [None, Distillation()])
def test_finalized_weights_are_stored_without_loss(distill):
    model = Tagger()
    pruner = prune_(model, recipe(ADMM(3, 4, interval=1), precision="int8", distill=distill))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    train(model, optimizer, pruner, 7)
    x, _ = batch(0)
    trained = model(x)
    dropped = model.encoder.weight_hh_l0 == 0
    assert dropped.float().mean() == 0.75
    pruner.finalize()
    assert torch.equal(model(x), trained), "what was trained is not what ships"
    for name, weight in model.named_parameters():
        if "weight" in name:
            assert torch.equal(rounded(weight, INT8), weight), name
    assert not model.encoder.weight_hh_l0[dropped].any()
    # Training on moves the weights; the next finalize() rounds them again.
    train(model, optimizer, pruner, 1)
    weight = model.encoder.weight_hh_l0
    assert not torch.equal(rounded(weight, INT8), weight)
    pruner.finalize()
    assert torch.equal(rounded(weight, INT8), weight)
    assert not weight[dropped].any()


def test_rounding_that_no_step_was_trained_with_is_told():
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 2, 1), precision="int8"))
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), pruner, 2)
    with pytest.warns(ScheduleWarning, match="rounded weights begins only after step 2"):
        pruner.finalize()


def test_weights_that_are_not_finite_are_not_rounded_away():
    model = Tagger()
    pruner = quantized(model, density=0.5)
    with torch.no_grad():
        model.head.weight[0, 0] = float("inf")
    before = model.encoder.weight_hh_l0.clone()
    with pytest.raises(ArgumentError, match=r"but head.weight hold NaN or infinity"):
        pruner.finalize()
    assert torch.equal(model.encoder.weight_hh_l0, before)


def test_weights_used_outside_of_any_forward_pass_are_told():
    model = Tagger()
    pruner = quantized(model)
    x, labels = batch(0)
    task_loss(nn.functional.linear(model.encoder(x)[0], model.head.weight), labels).backward()
    with pytest.warns(ScheduleWarning, match=r"head.weight got a gradient, but not from a forw"):
        pruner.step()
    assert pruner.step_count == 1


@pytest.mark.parametrize("stop", [2, 6])
def test_resuming_repeats_training_bit_for_bit(stop):
    plan = recipe(ADMM(4, 4, interval=2), precision="int8", distill=Distillation())
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    pruner = prune_(model, plan)
    train(model, optimizer, pruner, stop)
    states = copy.deepcopy([part.state_dict() for part in (model, optimizer, pruner)])
    straight = train(model, optimizer, pruner, 8 - stop, stop)

    resumed = Tagger()
    optimizer = torch.optim.Adam(resumed.parameters(), lr=1e-2)
    parts = (resumed, optimizer, prune_(resumed, plan))
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    assert parts[2].rounding == (stop >= 4)
    assert train(resumed, optimizer, parts[2], 8 - stop, stop) == straight
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


@pytest.mark.usefixtures("_native_lstm")
def test_parameters_of_another_call_are_refused():
    """They would be hidden by the rounded ones, and gradients be those of other weights."""
    model = Tagger()
    prune_(model, recipe(OneShot(), precision="int8"))
    others = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    with pytest.raises(CsbrnnError, match="functional_call gave it"):
        torch.func.functional_call(model, others, batch(0)[0])
    assert model(batch(0)[0]).any()


def test_mixed_precision_clipping_and_accumulation():
    model = Tagger()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu")
    pruner = prune_(model, recipe(OneShot(), precision="int8"))
    for number in range(4):
        for part in range(2):
            x, labels = batch(2 * number + part)
            with torch.autocast("cpu", torch.bfloat16):
                loss = pruner.loss(task_loss(model(x), labels) / 2)
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        pruner.step()
    assert model.encoder.weight_hh_l0.count_nonzero() == model.encoder.weight_hh_l0.numel() / 4


def test_training_with_rounded_weights_learns():
    model = Tagger(hidden=24)
    pruner = prune_(model, recipe(ADMM(60, 90, rho=1e-3), precision="int8"))
    losses = train(model, torch.optim.Adam(model.parameters(), lr=1e-2), pruner, 150)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
