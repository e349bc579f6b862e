"""Distillation: the dense network teaches the pruned one while it trains."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, log_softmax
from torch.utils.hooks import RemovableHandle

from csbrnn.checks import is_integer, is_number, is_positive, make_plain
from csbrnn.errors import ArgumentError, RecipeError
from csbrnn.pruning.carried_states import CarriedStates
from csbrnn.pruning.compiled import forget_compiled
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.weak_hook import WeakHook

__all__ = ["Distillation", "Distiller", "Select"]

Select = Callable[[Any], Tensor]
"""Takes a model's output apart: returns the logits in it."""


@final
@dataclasses.dataclass(frozen=True)
class Distillation:
    """Settings: ``(1 - weight) * task_loss + weight * temperature**2 * KL(teacher || student)``.

    The divergence is averaged over all positions (batch, time).

    Args:
        weight: Share of the loss that the teacher gets (0.5 did well in our experiments).
        temperature: Softens both distributions before they are compared.
        class_dim: Dimension of the logits that runs over classes.

    Raises:
        RecipeError: A setting is out of range; the message lists all.

    Reference:
        Hinton et al., "Distilling the knowledge in a neural network" (2015).
    """

    weight: float = 0.5
    temperature: float = 1.0
    class_dim: int = -1

    def __post_init__(self) -> None:
        make_plain(self)
        reasons = []
        if not is_number(self.weight) or not 0 < self.weight <= 1:
            reasons.append(f"weight must lie in (0, 1], not {self.weight!r}")
        if not is_positive(self.temperature):
            reasons.append(f"temperature must be a positive number, not {self.temperature!r}")
        if not is_integer(self.class_dim):
            reasons.append(f"class_dim must be an integer, not {self.class_dim!r}")
        refuse("Distillation can't be built", reasons)

    def to_dict(self) -> dict[str, Any]:
        """Returns the settings as plain data."""
        return dataclasses.asdict(self)


@final
class Distiller:
    """A frozen teacher beside a model: it sees what the model sees in training mode.

    A forward hook on the model runs the teacher on the same inputs, under the same autocast, and
    keeps both logits until the loss asks for them. Where the model gets back states that it
    returned last, the teacher gets its own.

    Args:
        settings: How to distill.
        model: The student, unwrapped.
        teacher: The network to learn from, put in evaluation mode and frozen; a copy of the model
            as it is now, if None.
        select: Returns the logits of an output; the first tensor found in it, if None.

    Raises:
        RecipeError: The model can't be copied, or the teacher is the model or has parts of it.
    """

    def __init__(
        self,
        settings: Distillation,
        model: nn.Module,
        teacher: nn.Module | None = None,
        select: Select | None = None,
    ) -> None:
        if teacher is not None and (shared := _shared(model, teacher)):
            raise RecipeError(
                f"the teacher must be another module than the model, but they share {shared}: it"
                " would be frozen; leave teacher out to learn from a copy, or copy.deepcopy it"
            )
        self.settings = settings
        self.copied = teacher is None
        self.teacher = (_copy(model) if teacher is None else teacher).eval().requires_grad_(False)
        self._select = select or _first_tensor
        self._logits: tuple[Tensor, Tensor] | None = None
        self._states = CarriedStates()
        self.overwritten = False
        self._handle: RemovableHandle = model.register_forward_hook(
            WeakHook(self, Distiller.observe), with_kwargs=True
        )
        forget_compiled()

    def observe(
        self, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Runs the teacher on the student's inputs and keeps both logits, where it trains."""
        if not model.training or not torch.is_grad_enabled():
            return
        student = self._select(output)
        self._check_logits(student)
        first, mine = next(self.teacher.parameters(), None), next(model.parameters(), None)
        if first is not None and first.device != student.device:
            self.teacher.to(student.device)
        if self.copied and first is not None and mine is not None and first.dtype != mine.dtype:
            self.teacher.to(mine.dtype)  # the copy goes where the model went
        with torch.no_grad():
            answer = self.teacher(*self._states.exchanged(args), **self._states.exchanged(kwargs))
        teacher = self._select(answer)
        if teacher.shape != student.shape:
            raise RecipeError(
                "teacher and student must give logits of one shape, but gave"
                f" {tuple(teacher.shape)} and {tuple(student.shape)}; pass select= to prune_ to"
                " pick the logits out of their outputs"
            )
        self.overwritten = self.overwritten or self._logits is not None
        self._logits = (student, teacher)
        self._states.remember(output, answer, student)

    def loss(self, task_loss: Tensor) -> Tensor:
        """Mixes the task's loss with the divergence from the teacher.

        Shape:
            task_loss and the result: ``()``.

        Raises:
            ArgumentError: The model has not run in training mode since the last call.
        """
        if self._logits is None:
            raise ArgumentError(
                "loss() distills from a forward pass of the model in training mode, and there was"
                " none since the last loss(); call model(...) after model.train(), with gradients"
                " enabled, before each loss()"
            )
        student, teacher = self._logits
        self.discard()
        settings = self.settings
        with torch.autocast(student.device.type, enabled=False):
            student_log = log_softmax(student.float() / settings.temperature, settings.class_dim)
            teacher_log = log_softmax(teacher.float() / settings.temperature, settings.class_dim)
            divergence = kl_div(student_log, teacher_log, reduction="sum", log_target=True)
            positions = student.numel() // max(1, student.shape[settings.class_dim])
            scale = settings.temperature**2 / max(1, positions)
        return (1 - settings.weight) * task_loss + settings.weight * scale * divergence

    def _check_logits(self, logits: Tensor) -> None:
        """Refuses what has no distribution over classes: the divergence would always be zero."""
        dim = self.settings.class_dim
        if not -logits.ndim <= dim < logits.ndim or logits.shape[dim] < 2:
            raise RecipeError(
                f"distillation compares distributions over two classes or more, along class_dim"
                f" {dim} of the logits, and these are of shape {tuple(logits.shape)}; set"
                " class_dim, pass select= to prune_ to pick the logits out of the model's output,"
                " or leave distill out where a single number is learned"
            )

    @property
    def strayed(self) -> bool:
        """Whether the teacher was given states that are not its own."""
        return self._states.foreign

    def states(self) -> list[tuple[Tensor, Tensor]]:
        """Returns what the next forward pass may give back, for a checkpoint."""
        return self._states.pairs

    def resume(self, states: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Takes over what :meth:`states` returned."""
        self._states.pairs = list(states)

    def discard(self) -> None:
        """Forgets the captured logits, and the graph they hold."""
        self._logits = None

    def close(self) -> None:
        """Takes the hook off the model."""
        self.discard()
        self._handle.remove()
        forget_compiled()


def _shared(model: nn.Module, teacher: nn.Module) -> str | None:
    """A parameter that is trained and that both have, by its name in the model."""
    taught = {id(parameter) for parameter in teacher.parameters() if parameter.requires_grad}
    return next((n for n, p in model.named_parameters() if id(p) in taught), None)


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise RecipeError(
            f"distillation needs a copy of {type(model).__name__} as teacher, but it can't be"
            f" copied ({error}); pass teacher= to prune_"
        ) from error


def _first_tensor(output: Any) -> Tensor:
    found = _find_tensor(output)
    if found is None:
        raise RecipeError(
            "distillation finds no floating-point tensor in the model's output, a"
            f" {type(output).__name__}; pass select= to prune_, a function that returns the logits"
        )
    return found


def _find_tensor(output: Any) -> Tensor | None:
    if isinstance(output, Tensor):
        return output if output.is_floating_point() and output.ndim else None
    if isinstance(output, Mapping):
        output = output.values()
    elif not isinstance(output, (tuple, list)):
        return None
    return next((found for item in output if (found := _find_tensor(item)) is not None), None)
