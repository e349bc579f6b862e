import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import kl_div

from csbrnn.errors import ArgumentError, RecipeError, ScheduleWarning
from csbrnn.pruning import Distillation, OneShot, prune_

from .models import Tagger, batch, recipe, task_loss


def distilled(model=None, settings=None, method=None, **options):
    model = model or Tagger()
    plan = recipe(method or OneShot(at=100), distill=settings or Distillation())
    return model, prune_(model, plan, **options)


def test_the_loss_is_the_formula():
    settings = Distillation(weight=0.3, temperature=2.0)
    model, teacher = Tagger(), Tagger()
    _, pruner = distilled(model, settings, teacher=teacher)
    x, labels = batch(0)
    logits = model(x)
    task = task_loss(logits, labels)
    student, target = (t.flatten(0, 1) / 2 for t in (logits, teacher(x)))
    divergence = kl_div(
        student.log_softmax(-1), target.log_softmax(-1), reduction="batchmean", log_target=True
    )
    torch.testing.assert_close(pruner.loss(task), 0.7 * task + 0.3 * 4 * divergence)


def test_the_teacher_is_the_dense_model_in_evaluation_mode():
    model = Tagger(num_layers=2, dropout=0.5)
    dense = copy.deepcopy(model).eval()
    _, pruner = distilled(model, Distillation(weight=1.0), OneShot())  # pruned at once
    x, _ = batch(0)
    student = model(x)
    expected = kl_div(
        student.flatten(0, 1).log_softmax(-1),
        dense(x).flatten(0, 1).log_softmax(-1),
        reduction="batchmean",
        log_target=True,
    )
    loss = pruner.loss(torch.zeros(()))
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert model.head.weight.grad.any()
    assert not any(p.requires_grad for p in pruner._distiller.teacher.parameters())


def test_classes_may_run_along_another_dimension():
    class Transposed(Tagger):
        def forward(self, x):
            return super().forward(x).transpose(1, 2)

    model, teacher = Transposed(), Transposed()
    x, _ = batch(0)
    losses = []
    for dim, view in ((1, lambda logits: logits), (-1, lambda logits: logits.transpose(1, 2))):
        _, pruner = distilled(model, Distillation(1.0, class_dim=dim), teacher=teacher, select=view)
        model(x)
        losses.append(pruner.loss(torch.zeros(())))
        pruner.detach()
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(
    ("wrap", "select"),
    [
        (lambda logits: (logits, "state"), None),
        (lambda logits: {"tokens": torch.ones(2).long(), "logits": logits}, None),
        (lambda logits: [None, (logits,)], None),
        (lambda logits: (torch.zeros(3), logits), lambda output: output[1]),
    ],
)
def test_logits_are_found_in_outputs(wrap, select):
    class Wrapped(Tagger):
        def forward(self, x):
            return wrap(super().forward(x))

    model, pruner = distilled(Wrapped(), Distillation(1.0), OneShot(), select=select)
    model(batch(0)[0])
    assert float(pruner.loss(torch.zeros(())).detach()) > 1e-4


def test_inputs_by_keyword():
    model, pruner = distilled(method=OneShot())
    x, labels = batch(0)
    assert pruner.loss(task_loss(model(x=x), labels)).requires_grad


@pytest.mark.parametrize("prepare", ["nothing", "eval", "no_grad", "twice"])
def test_a_loss_without_a_forward_pass_is_refused(prepare):
    model, pruner = distilled()
    x, labels = batch(0)
    if prepare == "eval":
        model.eval()(x)
    elif prepare == "no_grad":
        with torch.no_grad():
            model(x)
    elif prepare == "twice":
        pruner.loss(task_loss(model(x), labels))
    with pytest.raises(ArgumentError, match="forward pass of the model in training mode"):
        pruner.loss(torch.zeros(()))


def test_two_forward_passes_for_one_loss_are_told():
    model, pruner = distilled()
    x, labels = batch(0)
    model(x)
    with pytest.warns(ScheduleWarning, match="the last forward pass only"):
        pruner.loss(task_loss(model(x), labels))


def test_a_step_without_loss_is_told():
    _, pruner = distilled()
    with pytest.warns(ScheduleWarning, match=r"pruner.step\(\) was called without pruner.loss\(\)"):
        pruner.step()


def test_refusals():
    class Silent(Tagger):
        def forward(self, x):
            return "nothing"

    model, _ = distilled(Silent(), teacher=Tagger())
    with pytest.raises(RecipeError, match="no floating-point tensor in the model's output, a str"):
        model(batch(0)[0])
    model, _ = distilled(teacher=nn.LSTM(8, 4, batch_first=True))
    with pytest.raises(RecipeError, match=r"one shape, but gave \(4, 6, 4\) and \(4, 6, 5\)"):
        model(batch(0)[0])
    model = Tagger()
    with pytest.raises(RecipeError, match="the teacher must be another module"):
        distilled(model, teacher=model)
    with pytest.raises(RecipeError, match="the recipe has none; add distill="):
        prune_(Tagger(), recipe(), teacher=Tagger())
    model = Tagger()
    model.cache = torch.ones(1, requires_grad=True) * 2
    with pytest.raises(RecipeError, match=r"can't be copied .* pass teacher= to prune_"):
        distilled(model)


def test_what_has_no_distribution_is_refused():
    class Counting(Tagger):
        def forward(self, x):
            return super().forward(x)[..., :1]

    for model, options in ((Counting(), {}), (Tagger(), {"settings": Distillation(class_dim=3)})):
        distilled(model, **options)
        with pytest.raises(RecipeError, match=r"two classes or more, along class_dim.*\(4, 6, "):
            model(batch(0)[0])


def test_a_loss_among_the_outputs_is_passed_over():
    class WithLoss(Tagger):
        def forward(self, x):
            logits = super().forward(x)
            return {"loss": logits.mean(), "logits": logits}

    model, pruner = distilled(WithLoss(), Distillation(1.0), OneShot())
    model(batch(0)[0])
    assert float(pruner.loss(torch.zeros(())).detach()) > 1e-4


def test_a_teacher_that_shares_weights_is_refused_and_nothing_is_frozen():
    model, teacher = Tagger(), Tagger()
    teacher.head = model.head
    for other in (teacher, nn.DataParallel(model)):
        with pytest.raises(
            RecipeError, match=r"they share (head|encoder)\.\w+: it would be frozen"
        ):
            distilled(model, teacher=other)
        assert all(p.requires_grad for p in model.parameters())
        assert model.training
    model.head.requires_grad_(False)  # what is not trained may be shared
    distilled(model, teacher=teacher)


class Streaming(Tagger):
    """A tagger whose caller carries the states from one piece of a stream to the next."""

    def forward(self, x, states=None):
        y, states = self.encoder(x, states)
        return self.head(y), states


def pieces(count):
    return [batch(seed)[0] for seed in range(count)]


def reset_in_place(states):
    """The second stream begins anew."""
    with torch.no_grad():
        for state in states:
            state[:, 1] = 0
    return states


CARRIED = {
    "as they are": lambda states: states,
    "cloned": lambda states: tuple(s.clone() for s in states),
    "reset in place": reset_in_place,
    "masked": lambda states: tuple(s * torch.tensor([1.0, 0.0, 1.0, 1.0])[:, None] for s in states),
    "one stream less": lambda states: tuple(s[:, :-1] for s in states),
    "all zero": lambda states: tuple(torch.zeros_like(s) for s in states),
}


@pytest.mark.parametrize("carry", CARRIED)
@pytest.mark.parametrize("by_name", [False, True])
def test_the_teacher_goes_on_from_its_own_states(carry, by_name, recwarn):
    model, teacher = Streaming(), Streaming()
    own = copy.deepcopy(teacher).eval()
    settings = Distillation(weight=1.0)
    _, pruner = distilled(model, settings, teacher=teacher, select=lambda output: output[0])
    states = own_states = None
    for x in pieces(3):
        x = x if states is None else x[: states[0].shape[1]]
        student, states = model(x, states=states) if by_name else model(x, states)
        expected, own_states = own(x, own_states)
        loss = pruner.loss(torch.zeros(()))
        divergence = kl_div(
            student.flatten(0, 1).log_softmax(-1),
            expected.flatten(0, 1).log_softmax(-1),
            reduction="batchmean",
            log_target=True,
        )
        torch.testing.assert_close(loss, divergence)
        pruner.step()
        states = CARRIED[carry](tuple(s.detach() for s in states))
        own_states = CARRIED[carry](tuple(s.detach() for s in own_states))
    assert not recwarn.list


def test_a_teacher_that_is_a_copy_goes_where_the_model_goes():
    model, pruner = distilled()
    model.double()
    x, labels = batch(0)
    pruner.loss(task_loss(model(x.double()), labels)).backward()
    assert model.head.weight.grad.dtype == torch.float64


def test_the_teachers_states_are_in_a_checkpoint():
    """Truncated backpropagation through time goes on as if it had not been interrupted."""

    def losses(model, pruner, optimizer, states, xs):
        found = []
        for x in xs:
            logits, states = model(x, states)
            loss = pruner.loss(task_loss(logits, batch(0)[1]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            pruner.step()
            states = tuple(s.detach() for s in states)
            found.append(float(loss.detach()))
        return found, states

    def begin():
        model, pruner = distilled(Streaming(), select=lambda output: output[0])
        return model, pruner, torch.optim.SGD(model.parameters(), lr=0.5)

    xs = pieces(6)
    model, pruner, optimizer = begin()
    _, states = losses(model, pruner, optimizer, None, xs[:3])
    saved = copy.deepcopy((model.state_dict(), pruner.state_dict(), states))
    expected, _ = losses(model, pruner, optimizer, states, xs[3:])
    model, pruner, optimizer = begin()
    model.load_state_dict(saved[0])
    pruner.load_state_dict(saved[1])
    assert losses(model, pruner, optimizer, saved[2], xs[3:])[0] == expected


def test_a_checkpoint_goes_with_its_kind_of_teacher():
    copied, own = distilled()[1], distilled(teacher=Tagger())[1]
    with pytest.raises(RecipeError, match="with a teacher of your own, which it does not hold"):
        copied.load_state_dict(own.state_dict())
    with pytest.raises(RecipeError, match="a copy of the model; leave out teacher="):
        own.load_state_dict(copied.state_dict())


def test_states_from_elsewhere_are_told():
    model = Streaming()
    _, pruner = distilled(model, select=lambda output: output[0])
    zero = (torch.zeros(1, 4, 16), torch.zeros(1, 4, 16))
    for x in pieces(2):  # zero is nobody's
        logits, states = model(x, zero)
        pruner.loss(task_loss(logits, batch(0)[1]))
        pruner.step()
    _, states = model(pieces(1)[0], tuple(s.detach() + 1 for s in states))
    with pytest.warns(ScheduleWarning, match="goes on from the student's, not from its own"):
        pruner.loss(torch.zeros(()))
