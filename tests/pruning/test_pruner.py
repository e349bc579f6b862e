"""The pruner in a training loop: what it promises a user."""

import copy
import io
import warnings

import pytest
import torch
from torch import nn

from csbrnn.errors import ArgumentError, CsbrnnError, RecipeError, ScheduleWarning
from csbrnn.patterns import CSB
from csbrnn.pruning import (
    ADMM,
    Distillation,
    Gradual,
    GroupLasso,
    OneShot,
    ThresholdPruning,
    prune_,
    pruner_of,
    pruners_of,
)

from .models import Tagger, batch, recipe, task_loss, train

METHODS = {
    "one-shot": OneShot(at=1),
    "gradual": Gradual(0, 6, 2),
    "admm": ADMM(4, 4, interval=2, rho=1e-2),
    "group lasso": GroupLasso(1e-3, 4, 2, begin=1),
    "threshold": ThresholdPruning(1, 4, 7, 2),
    "group lasso with a threshold": GroupLasso(1e-3, 8, 1, pruning=ThresholdPruning(1, 4, 7, 2)),
}
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=0.01)


@every_method
def test_the_three_lines(method):
    model = Tagger()
    optimizer = adam(model)
    pruner = prune_(model, recipe(method, distill=Distillation()))
    train(model, optimizer, pruner, 10)
    assert pruner.complete
    assert pruner.report().density == 0.25
    pruner.finalize()
    assert pruner.phase == "final"
    for weight in (model.encoder.weight_ih_l0, model.encoder.weight_hh_l0):
        assert torch.equal(CSB((4, 4)).project(weight, 0.25), weight)
        assert weight.count_nonzero() == weight.numel() / 4


def test_pruning_learns():
    model = Tagger(hidden=24)
    pruner = prune_(model, recipe(ADMM(90, 60, rho=1e-3), distill=Distillation(0.1)))
    losses = train(model, adam(model), pruner, 150)
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


@every_method
@pytest.mark.parametrize("stop", [3, 7])
def test_resuming_repeats_training_bit_for_bit(method, stop):
    plan = recipe(method, distill=Distillation())
    model = Tagger()
    optimizer = adam(model)
    pruner = prune_(model, plan)
    train(model, optimizer, pruner, stop)
    buffer = io.BytesIO()
    torch.save([part.state_dict() for part in (model, optimizer, pruner)], buffer)
    straight = train(model, optimizer, pruner, 10 - stop, stop)

    buffer.seek(0)
    states = torch.load(buffer, weights_only=True)
    resumed = Tagger()
    optimizer = adam(resumed)
    parts = (resumed, optimizer, prune_(resumed, plan))
    for part, state in zip(parts, states, strict=True):
        part.load_state_dict(state)
    assert train(resumed, optimizer, parts[2], 10 - stop, stop) == straight
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_finalized_pruner_resumes_as_final():
    plan = recipe(OneShot(), distill=Distillation())
    model, other = Tagger(), Tagger()
    pruner, resumed = prune_(model, plan), prune_(other, plan)
    pruner.finalize()
    resumed.load_state_dict(pruner.state_dict())
    assert resumed.phase == "final"
    loss = torch.ones(())
    assert resumed.loss(loss) is loss


def test_a_checkpoint_from_before_a_setting_existed_fits():
    model = Tagger()
    pruner = prune_(model, recipe(ADMM(40, 20)))
    state = pruner.state_dict()
    older = dict(state["recipe"]["method"])
    assert older.pop("ramp_steps") == 0  # the default
    pruner.load_state_dict(state | {"recipe": state["recipe"] | {"method": older}})


def test_checkpoints_that_do_not_fit():
    model, wide, narrow = Tagger(), nn.LSTM(8, 8), nn.LSTM(4, 8)
    pruner, wide_pruner, narrow_pruner = (prune_(m, recipe()) for m in (model, wide, narrow))
    state = pruner.state_dict()
    with pytest.raises(RecipeError, match="must be of version 1, not None"):
        pruner.load_state_dict({})
    changed = state | {"recipe": recipe(OneShot(5), 0.5).to_dict()}
    with pytest.raises(RecipeError, match="but density, method differ"):
        pruner.load_state_dict(changed)
    with pytest.raises(RecipeError, match="the pruned weights differ"):
        pruner.load_state_dict(wide_pruner.state_dict())
    # Only tensors have a shape to compare: a mask is one.
    with pytest.raises(RecipeError, match="the shape of weight_ih_l0 differ"):
        wide_pruner.load_state_dict(narrow_pruner.state_dict())
    pruner.finalize()
    with pytest.raises(RecipeError, match="this pruner was finalized"):
        pruner.load_state_dict(state)


def test_gradients_of_dropped_weights_are_zero_before_clipping():
    model = Tagger()
    prune_(model, recipe(OneShot()))
    x, labels = batch(0)
    task_loss(model(x), labels).backward()
    weight = model.encoder.weight_hh_l0
    assert not weight.grad[weight == 0].any()
    assert weight.grad[weight != 0].any()


@pytest.mark.parametrize("make", [Tagger, lambda: nn.LSTM(8, 5, batch_first=True)])
def test_a_copy_is_a_plain_model(make):
    model = make()
    pruner = prune_(model, recipe(OneShot(), distill=Distillation()))
    twin = copy.deepcopy(model)
    assert pruner_of(twin) is None
    first = (lambda output: output[0]) if isinstance(model, nn.LSTM) else lambda output: output
    x, _ = batch(0)
    assert torch.equal(first(twin(x)), first(model.eval()(x)))
    first(twin(x)).sum().backward()
    hh = dict(twin.named_parameters())[next(n for n, _ in twin.named_parameters() if "hh" in n)]
    assert hh.grad[hh == 0].any(), "the copy's gradients are masked"
    assert pruner._distiller._logits is None, "the copy's forward pass was captured"
    twin.load_state_dict(model.state_dict())


def test_saving_the_whole_model():
    model = Tagger()
    prune_(model, recipe(OneShot(), distill=Distillation()))
    buffer = io.BytesIO()
    torch.save(model, buffer)
    assert len(buffer.getvalue()) < 40_000, "the teacher was saved with the model"
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    x, _ = batch(0)
    assert torch.equal(loaded(x), model(x))
    assert pruner_of(loaded) is None


@pytest.mark.parametrize("inside", [True, False], ids=["loss inside", "loss outside"])
@pytest.mark.usefixtures("_native_lstm")
def test_mixed_precision_clipping_and_accumulation(inside):
    model = Tagger()
    optimizer = adam(model)
    scaler = torch.amp.GradScaler("cpu")
    pruner = prune_(model, recipe(ADMM(2, 2, interval=1), distill=Distillation()))
    for number in range(4):
        for part in range(2):
            x, labels = batch(2 * number + part)
            with torch.autocast("cpu", torch.bfloat16):
                task = task_loss(model(x), labels)
                loss = pruner.loss(task) / 2 if inside else None
            loss = pruner.loss(task) / 2 if loss is None else loss
            assert loss.dtype == torch.float32
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        pruner.step()
    assert pruner.complete
    assert pruner.report().density == 0.25


def test_gradients_of_parts_of_a_batch_add_up_to_those_of_all_of_it():
    """The penalty and the teacher's share are divided as the task's loss is."""
    x, labels = batch(0)
    gradients = []
    torch.manual_seed(1)
    dense, teacher = Tagger(), Tagger()
    for parts in (1, 4):
        model = copy.deepcopy(dense)
        plan = recipe(ADMM(4, 2, interval=1, rho=0.1), distill=Distillation())
        pruner = prune_(model, plan, teacher=teacher)
        for some, their_labels in zip(x.chunk(parts), labels.chunk(parts), strict=True):
            (pruner.loss(task_loss(model(some), their_labels)) / parts).backward()
        gradients.append(model.encoder.weight_hh_l0.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.usefixtures("_native_lstm")
def test_the_teacher_runs_under_the_students_autocast():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot(at=9), distill=Distillation(1.0)))
    with torch.autocast("cpu", torch.bfloat16):
        model(batch(0)[0])
    assert pruner._distiller._logits[1].dtype == torch.bfloat16
    assert float(pruner.loss(torch.zeros(())).detach()) == 0  # the same network, the same rounding


def test_a_pruner_belongs_to_its_model():
    model = Tagger()
    pruner = prune_(model, recipe(patterns={"*_ih_*": "unstructured"}))
    assert pruner_of(model) is pruner
    assert pruner_of(nn.DataParallel(model)) is pruner
    assert pruner_of(Tagger()) is None
    assert pruner.pattern_of("encoder.weight_hh_l0") == CSB((4, 4))
    assert str(pruner.pattern_of("encoder.weight_ih_l0")) == "unstructured()"
    assert pruner.pattern_of("head.weight") is None
    with pytest.raises(RecipeError, match="this Tagger is being pruned already"):
        prune_(model, recipe())


def test_detached_models_are_plain():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot(), distill=Distillation()))
    pruner.detach()
    assert pruner_of(model) is None
    model(torch.randn(2, 3, 8)).sum().backward()
    weight = model.encoder.weight_hh_l0
    assert weight.grad[weight == 0].any()
    with torch.no_grad():
        weight.fill_(1.0)
    pruner.step()
    assert (weight == 1).all()
    prune_(model, recipe())


def test_training_on_after_finalize_keeps_the_support():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot(), distill=Distillation()))
    pruner.finalize()
    train(model, adam(model), pruner, 3)
    assert pruner.report().density == 0.25
    pruner.finalize()


def test_an_early_end_is_told_and_prunes_to_the_target():
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 100, 2)))
    train(model, adam(model), pruner, 4)
    with pytest.warns(ScheduleWarning, match=r"after step 4 of 100: the schedule has not ended"):
        pruner.finalize()
    assert pruner.report().density == 0.25


def test_an_end_before_the_first_step_is_told():
    model = Tagger()
    with pytest.warns(ScheduleWarning, match="the schedule has not begun"):
        prune_(model, recipe(Gradual(0, 100, 2))).finalize()


def test_a_pruner_without_its_model_is_refused():
    model = Tagger()
    pruner = prune_(model, recipe())
    del model
    with pytest.raises(CsbrnnError, match="the pruned model is gone"):
        pruner.step()


def test_losses_without_steps_are_told_once():
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 100)))
    task = torch.zeros(())
    for _ in range(99):
        pruner.loss(task)
    with pytest.warns(ScheduleWarning, match=r"called 100 times since the last pruner.step\(\)"):
        pruner.loss(task)
    for _ in range(200):
        pruner.loss(task)


def test_steps_without_the_penalty_are_told_once():
    model = Tagger()
    pruner = prune_(model, recipe(ADMM(40, 0)))
    with pytest.warns(ScheduleWarning, match=r"without pruner.loss\(\) before"):
        pruner.step()
    pruner.step()


def test_steps_without_loss_are_fine_where_it_adds_nothing():
    model = Tagger()
    prune_(model, recipe(Gradual(0, 10))).step()


def test_replaced_parameters_are_refused():
    model = Tagger()
    pruner = prune_(model, recipe())
    model.encoder.weight_hh_l0 = nn.Parameter(torch.randn(64, 16))
    with pytest.raises(CsbrnnError, match=r"encoder.weight_hh_l0 must stay the parameter it was"):
        pruner.step()


@pytest.mark.parametrize(
    "options",
    [
        {"method": OneShot()},
        {"method": ADMM(40, 0)},
        {"method": Gradual(0, 9), "distill": Distillation()},
    ],
    ids=["mask", "Z", "teacher"],
)
def test_weights_overwritten_after_prune_are_refused(options):
    """As by load_state_dict, or by wrapping in DistributedDataParallel on another rank than 0."""
    model = Tagger()
    pruner = prune_(model, recipe(**options))
    model.load_state_dict(Tagger().state_dict())
    loss = task_loss(model(batch(0)[0]), batch(0)[1])
    with pytest.raises(RecipeError, match="must start from the weights that prune_ saw"):
        pruner.loss(loss)
    pruner.detach()
    pruner = prune_(model, recipe(**options))
    model.load_state_dict(Tagger().state_dict())
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(RecipeError, match="must start from the weights that prune_ saw"),
    ):
        pruner.finalize()


def test_weights_may_be_overwritten_where_nothing_was_derived_from_them():
    model = Tagger()
    pruner = prune_(model, recipe(Gradual(0, 9)))
    model.load_state_dict(Tagger().state_dict())
    pruner.loss(torch.zeros(()))


def test_diverged_weights_are_refused():
    model = Tagger()
    with torch.no_grad():
        model.encoder.weight_ih_l0[3, 5] = float("nan")
    with pytest.raises(
        ArgumentError, match=r"encoder.weight_ih_l0: csb.* row 3, column 5; training diverged"
    ):
        prune_(model, recipe(OneShot(), distill=Distillation()))
    assert not model._forward_hooks
    assert pruner_of(model) is None


def test_without_penalty_the_loss_is_the_tasks():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot()))
    loss = torch.ones(())
    assert pruner.loss(loss) is loss
    assert float(pruner.penalty()) == 0


def test_a_model_moved_to_another_dtype_keeps_its_mask():
    model = Tagger()
    pruner = prune_(model, recipe(OneShot()))
    model.double()
    pruner.step()
    assert pruner.report().density == 0.25


def test_a_weight_has_one_pruner():
    model = Tagger()
    part = prune_(model.encoder, recipe())
    message = "encoder.weight_ih_l0 is being pruned already, with another part"
    with pytest.raises(RecipeError, match=message):
        prune_(model, recipe())
    assert pruners_of(model) == pruners_of(model.encoder) == [part]
    assert pruners_of(model.head) == []
    part.detach()
    whole = prune_(model, recipe())
    with pytest.raises(RecipeError, match="weight_ih_l0 is being pruned already"):
        prune_(model.encoder, recipe())
    assert pruners_of(model.encoder) == [whole]
    whole.detach()


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("recipe"),
        lambda d: d.update(state=None),
        lambda d: d["state"].pop("targets"),
        lambda d: d["state"].update(step="3"),
        lambda d: d["state"]["targets"].update({"encoder.weight_ih_l0": {}}),
        lambda d: d.update(finalized="no"),
        lambda d: d.update(teacher=3),
    ],
)
def test_damaged_checkpoints_are_refused(damage):
    pruner = prune_(Tagger(), recipe(ADMM(4, 4, interval=2)))
    data = pruner.state_dict()
    damage(data)
    with pytest.raises(RecipeError, match="must hold what"):
        pruner.load_state_dict(data)
    pruner.detach()


@pytest.mark.parametrize("data", ["text", None, {}, {"version": 0}])
def test_what_is_no_checkpoint(data):
    pruner = prune_(Tagger(), recipe(ADMM(4, 4, interval=2)))
    with pytest.raises(RecipeError, match="must be of version 1"):
        pruner.load_state_dict(data)
    pruner.detach()
