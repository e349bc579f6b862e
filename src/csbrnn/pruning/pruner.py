"""The pruner: what a training loop calls, and what ends in a report or a checkpoint."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from csbrnn.errors import CsbrnnError, RecipeError, ScheduleWarning
from csbrnn.numerics import Precision, precision_of
from csbrnn.patterns import Pattern
from csbrnn.pruning.checkpoint import STATE_VERSION, check
from csbrnn.pruning.distill import Distiller, Select
from csbrnn.pruning.forward_rounding import ForwardRounding
from csbrnn.pruning.lifetime import Progress, farewell, pruners
from csbrnn.pruning.recipe import Recipe
from csbrnn.pruning.refusal import refuse
from csbrnn.pruning.report import Report, report
from csbrnn.pruning.state import PruningState
from csbrnn.pruning.tampering import check_parameters, check_start
from csbrnn.pruning.targets import find_rounded, find_targets
from csbrnn.pruning.unit_projection import UnitProjection

__all__ = ["Pruner"]

# Calls of loss() without a step() before a warning: beyond any gradient accumulation we know of.
_LOSSES_WITHOUT_STEP = 100


@final
class Pruner:
    """A model being pruned. Made by :func:`csbrnn.pruning.prune_`."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        teacher: nn.Module | None = None,
        select: Select | None = None,
    ) -> None:
        self.recipe = recipe
        self._model = weakref.ref(model)
        targets = find_targets(model, recipe)
        rounded = find_rounded(model, recipe)
        held = {id(target.parameter): target.name for target in targets}
        held |= {id(weight.parameter): weight.names[0] for weight in rounded}
        refuse(
            f"can't prune {type(model).__name__}",
            [
                f"{name} is being pruned already, with another part of the model or with the whole"
                " of which this is a part; detach() that pruner, or exclude the weight"
                for number, name in held.items()
                if any(pruner.holds({number}) for pruner in list(pruners.values()))
            ],
        )
        self._held = frozenset(held)
        units = UnitProjection(model, targets) if recipe.scope == "units" else None
        self._state = PruningState(targets, recipe.scope, units)
        self._distiller = (
            Distiller(recipe.distill, model, teacher, select) if recipe.distill else None
        )
        try:
            recipe.method.prepare(self._state)
        except CsbrnnError:
            self._dismiss_teacher()
            raise
        self._hooks = self._state.hook_gradients()
        self._rounding = ForwardRounding(model, rounded, precision_of(recipe.precision))
        # What prune_ has derived from the weights holds only if training starts from them.
        derived = self._state.relaxation is not None or bool(self._state.variables)
        if self._distiller is not None:
            derived = derived or self._distiller.copied
        self._start = self._state.sample() if derived else None
        self._finalized = False
        self._losses = 0  # since the last step
        self._warned: set[str] = set()
        self._set_rounding()
        self._progress = Progress(0, recipe.method.total_steps, self.complete)
        weakref.finalize(self, farewell, self._progress)

    @property
    def phase(self) -> str:
        """What the method is doing now; "complete" when its schedule has ended."""
        return "final" if self._finalized else self.recipe.method.phase(self._state.step)

    @property
    def complete(self) -> bool:
        """Whether the schedule has ended, or :meth:`finalize` was called: the support is final."""
        return self._finalized or self._state.step >= self.recipe.method.total_steps

    @property
    def step_count(self) -> int:
        """Optimizer steps done."""
        return self._state.step

    @property
    def rounding(self) -> bool:
        """Whether forward passes see weights rounded to the recipe's precision now."""
        return self._rounding.active

    def penalty(self) -> Tensor:
        """Returns what the method adds to the loss now; zero when it adds nothing.

        Shape:
            ``()``, float32 or float64.
        """
        self._check_start()
        self._losses += 1
        penalty = None if self._finalized else self.recipe.method.penalty(self._state)
        return self._state.targets[0].parameter.new_zeros(()) if penalty is None else penalty

    def loss(self, task_loss: Tensor) -> Tensor:
        """Returns the loss to train on: the task's, the teacher's and the method's together.

        Call it once for each forward pass, inside or outside of autocast. Where several make one
        optimizer step, divide what it returns: ``(pruner.loss(task_loss) / parts).backward()``.

        Shape:
            task_loss and the result: ``()``.

        Raises:
            ArgumentError: The recipe distills, and the model has not run in training mode since
                the last call.
            RecipeError: The weights were overwritten between ``prune_`` and the first loss.
        """
        self._check_start()
        loss = task_loss
        if self._distiller is not None:
            loss = self._distiller.loss(task_loss)
            if self._distiller.overwritten:
                self._warn_once(
                    "overwritten",
                    "the model ran more than once before loss(): distillation sees the last"
                    " forward pass only; call loss() after each",
                )
            if self._distiller.strayed:
                self._warn_once(
                    "strayed",
                    "the model was given states that it did not return in its last forward pass:"
                    " the teacher goes on from the student's, not from its own; train one stream"
                    " after the other, or begin from zero",
                )
        penalty = self.penalty()
        if self._losses == _LOSSES_WITHOUT_STEP:
            self._warn_once(
                "no step",
                f"pruner.loss() was called {self._losses} times since the last pruner.step():"
                " nothing is being pruned; call pruner.step() after each optimizer.step()",
            )
        # Zero is not added: the graph, and the loss bit for bit, stay those of the task.
        return loss + penalty if penalty.requires_grad else loss

    def step(self) -> None:
        """Counts an optimizer step and prunes if it is time; call it after ``optimizer.step()``.

        Raises:
            CsbrnnError: A pruned parameter was replaced in the model.
        """
        check_parameters(self._model(), self._state.targets)
        losses, self._losses = self._losses, 0
        self._start = None
        self._check_rounding()
        if self._finalized:
            self.settle()
            self._state.enforce()
            return
        method, state = self.recipe.method, self._state
        if losses == 0 and (method.needs_penalty(state.step) or self._distiller):
            self._warn_once(
                "no loss",
                "pruner.step() was called without pruner.loss() before: the penalty and the"
                " teacher that this recipe asks for were not in the loss; train on"
                " pruner.loss(task_loss)",
            )
        if self._distiller is not None:
            self._distiller.discard()
        with torch.no_grad():
            state.step += 1
            method.step(state)
            state.enforce()
        self._progress.step = state.step
        self._progress.over = self.complete
        self._set_rounding()

    def finalize(self) -> None:
        """Ends pruning at exact zeros, and lets go of the teacher and the method's tensors.

        Weights are rounded to the recipe's precision, which then stores them without loss.

        Warns if the schedule has not ended, and prunes to the target density at once. From now on
        ``loss`` returns the task's loss; ``step`` still keeps the support, for further training;
        call ``finalize`` again after it if the recipe has a precision.

        Raises:
            ArgumentError: A weight is not finite.
            RecipeError: The weights were overwritten since ``prune_``, before any step.
        """
        self._check_start()
        if self._finalized:
            self._state.enforce()
            self._rounding.project()
            return
        if not self.complete:
            begun = "ended" if self._state.step else "begun"
            self._warn_once(
                "early end",
                f"finalize() after step {self._state.step} of {self._progress.total_steps}: the"
                f" schedule has not {begun}, and the weights are now pruned to the target without"
                " it; train longer, or shorten the schedule",
            )
        begin = self.recipe.rounds_from
        if begin is not None and 0 < self._state.step <= begin:
            self._warn_once(
                "never rounded",
                f"finalize() after step {self._state.step} rounds weights to"
                f" {self.recipe.precision}, but training with rounded weights begins only after"
                f" step {begin}; train longer, or set quantize_from",
            )
        check_parameters(self._model(), self._state.targets)
        with torch.no_grad():
            self.recipe.method.finalize(self._state)
            self._state.enforce()
        if empty := [t.name for t in self._state.targets if not bool(t.parameter.any())]:
            self._warn_once(
                "empty",
                f"{', '.join(empty)} lost every weight: nothing that they read has an effect any"
                " more; take a lower rate, or a budget for each matrix (scope='matrix')",
            )
        self._rounding.project()
        self._dismiss_teacher()
        self._finalized = True
        self._progress.over = True
        self._set_rounding()

    def settle(self) -> None:
        """Gives modules their parameters back where a forward pass was interrupted (Ctrl-C)."""
        self._rounding.reset()

    def detach(self) -> None:
        """Stops pruning for good, whatever its state: the model is a plain model again.

        Tools that take a module apart (torch.export, torch.jit, torch.onnx) want it to be one;
        name the precision when packing it afterwards.
        """
        for hook in self._hooks:
            hook.remove()
        self._rounding.close()
        self._dismiss_teacher()
        self._state.release()
        self._finalized = True
        self._progress.over = True
        model = self._model()
        if model is not None:
            pruners.pop(model, None)

    def report(self) -> Report:
        """Counts the weights that are not zero now, matrix by matrix; printable."""
        total_steps = self._progress.total_steps
        return report(
            self._state, self.phase, total_steps, self.recipe.precision if self.rounding else None
        )

    def holds(self, parameters: Collection[int]) -> bool:
        """Returns whether it prunes or rounds one of some parameters, given by their ``id``."""
        return not self._held.isdisjoint(parameters)

    def names_of(self, weight: Tensor) -> tuple[str, ...]:
        """Returns the qualified names of a weight in the model; none if it has none there.

        Args:
            weight: A parameter, or what a parametrization (`torch.nn.utils.parametrize`) computes.
        """
        model = self._model()
        if model is None:
            return ()
        every = model.named_parameters(remove_duplicate=False)
        if names := tuple(name for name, known in every if known is weight):
            return names
        computed = (
            (f"{path}.{attribute}" if path else attribute, getattr(module, attribute))
            for path, module in model.named_modules()
            if parametrize.is_parametrized(module)
            for attribute in module.parametrizations
        )
        return tuple(
            name
            for name, value in computed
            if value.dtype == weight.dtype and torch.equal(value, weight)
        )

    def pattern_of(self, parameter_name: str) -> Pattern | None:
        """Returns the pattern of a weight by its qualified name; None if it is not pruned."""
        for target in self._state.targets:
            if parameter_name in target.names:
                return target.pattern
        return None

    def pieces_of(self, parameter_name: str) -> int:
        """Returns in how many equal parts, from top to bottom, a weight was projected."""
        for target in self._state.targets:
            if parameter_name in target.names:
                return target.pieces
        return 1

    def precision_of(self, parameter_name: str) -> Precision:
        """Returns the precision that a weight is trained for, by its qualified name."""
        return self._rounding.precision_of(parameter_name)

    def keeps_fp32(self, parameter_name: str) -> bool:
        """Returns whether the recipe's ``keep_fp32`` names a weight."""
        return any(fnmatchcase(parameter_name, glob) for glob in self.recipe.keep_fp32)

    def state_dict(self) -> dict[str, Any]:
        """Returns all that a checkpoint needs besides the model's and the optimizer's own.

        The teacher is included if it is a copy of the model. Tensors are not copied.
        """
        teacher, carried = None, []
        if self._distiller is not None:
            carried = self._distiller.states()
            if self._distiller.copied:
                teacher = self._distiller.teacher.state_dict()
        return {
            "version": STATE_VERSION,
            "recipe": self.recipe.to_dict(),
            "finalized": self._finalized,
            "state": self._state.to_dict(),
            "teacher": teacher,
            "carried": carried,
        }

    @torch.inference_mode(False)
    def load_state_dict(self, data: Mapping[str, Any]) -> None:
        """Resumes from a checkpoint; load the model's state as well. Training repeats bit for bit.

        Raises:
            RecipeError: The checkpoint is of another version, recipe or model, or the teacher was
                a copy of the model then and is not now, or the other way round.
        """
        copied = None if self._distiller is None else self._distiller.copied
        check(data, self.recipe, self._state, copied)
        if self._finalized and not data["finalized"]:
            raise RecipeError(
                "this pruner was finalized, and the checkpoint was not; resume with a fresh"
                " prune_(model, recipe)"
            )
        self._state.load(dict(data["state"]))
        self._start = None
        self._progress.step = self._state.step
        if self._distiller is not None:
            if data["teacher"] is not None:
                self._distiller.teacher.load_state_dict(data["teacher"])
            # Older checkpoints have none.
            self._distiller.resume(data.get("carried", ()))
        if data["finalized"] and not self._finalized:
            self._dismiss_teacher()
            self._finalized = True
        self._progress.over = self.complete
        self._set_rounding()

    def _set_rounding(self) -> None:
        begin = self.recipe.rounds_from
        self._rounding.activate(
            begin is not None and (self._finalized or self._state.step >= begin)
        )

    def _check_rounding(self) -> None:
        if names := self._rounding.unseen():
            self._warn_once(
                "not rounded",
                f"{', '.join(names)} got a gradient, but not from a forward pass of the module"
                f" that owns it: it was not rounded to {self.recipe.precision}, as it will be when"
                " stored; read weights inside of forward(), or name them in keep_fp32",
            )

    def _check_start(self) -> None:
        start, self._start = self._start, None
        if start is not None:
            check_start(start, self._state.sample())

    def _dismiss_teacher(self) -> None:
        if self._distiller is not None:
            self._distiller.close()
            self._distiller = None

    def _warn_once(self, key: str, message: str) -> None:
        """Warns at the line that called the public method, once for each key."""
        if key not in self._warned:
            self._warned.add(key)
            warnings.warn(message, ScheduleWarning, stacklevel=3)
