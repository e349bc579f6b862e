"""`pack`: any torch module whose forward a packed model can carry, as a packed model."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedParameter

from csbrnn import model as packed
from csbrnn.errors import ArgumentError, CsbrnnWarning, ScheduleWarning, UnsupportedModelError
from csbrnn.nn.lowering import FOREIGN_HOOKS, Lowering, has_foreign_hooks
from csbrnn.nn.storage import Storage
from csbrnn.nn.trace import Trace, trace
from csbrnn.nn.values import TensorKey
from csbrnn.numerics import Precision
from csbrnn.patterns import Pattern
from csbrnn.pruning import pruners_of, unwrap

__all__ = ["pack"]

#: What the axes of an input may be, "T" time, "B" batch, "F" features (tokens have none); by rank,
#: and within a rank in the order in which readings are tried.
_READINGS = (("TBF", "BTF", "TB", "BT"), ("TF", "BF", "T", "B"), ("F", ""))


def pack(
    module: nn.Module,
    *,
    pattern: Pattern | None = None,
    metadata: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    input_size: int | None = None,
    layout: str | None = None,
    precision: Precision | str | None = None,
    keep_fp32: Iterable[str] = (),
) -> packed.PackedModel:
    """Makes a packed model that computes what ``module`` computes in evaluation mode.

    The forward is traced, not run. It may use embeddings, linear layers, recurrent layers
    (`torch.nn`'s, their cells in a forward of one step, `csbrnn.nn.Recurrent`), relu, tanh,
    sigmoid and softmaxes over the features, sums and products of two layers' outputs,
    concatenation of features, dropout (left out), and whatever moves axes but leaves each step
    whole. States may begin with zero, or be passed in by the caller and returned. Batch and time
    may lie in any order. Weights are rounded to the precision, and stored each in the format that
    takes the fewest bytes then; in fp32 that is bit for bit.

    Args:
        module: The module, pruned or not; it is not changed. What DistributedDataParallel,
            DataParallel or torch.compile wrap is packed.
        pattern: The pattern that its weights follow: they are stored in the format made for it, or
            dense where that is smaller. Left out, it is what `csbrnn.pruning` pruned each weight
            to, or found by trying CSB of several blocks and CSR.
        metadata: Facts to keep beside the model, e.g. ``{"vocabulary": [...]}``.
        provenance: How the model was made.
        input_size: Features of the input (or size of the vocabulary), for models where no layer
            tells.
        layout: Axes of the input: "TBF" (time, batch, features), "BTF", "TF", "BF" (one step), "F",
            or for tokens "TB", "BT", "T", "B". Found by trying if left out.
        precision: What the matrices of recurrent and linear layers are stored in: "fp32", "bf16",
            "int8", or for the accelerator "fixed16" or "fixed12", which CPUs run as fp32; see
            `csbrnn.model.quantize`. Left out, it is that of the recipe by which the
            module, or a part of it, is pruned; or fp32.
        keep_fp32: Patterns of "layer/parameter", as the packed model has them, that are not
            rounded, besides what the recipe keeps by the module's names.

    Warns:
        CsbrnnWarning: Weights do not follow ``pattern``, and would be smaller in another format.
        ScheduleWarning: The module is being pruned, and pruning has not ended; or it was trained
            for the precision, but some of its weights were not.

    Raises:
        ArgumentError: ``module`` is no module, ``layout`` none of the above, a precision or a
            pattern of ``keep_fp32`` is unknown, or parts are trained for different precisions.
        UnsupportedModelError: Something can't be carried: all reasons, each with its place.
    """
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"pack takes a torch.nn.Module, not {type(module).__name__}")
    module = unwrap(module)
    if layout is not None and layout not in {text for rank in _READINGS for text in rank}:
        raise ArgumentError(f"layout must be one of {_READINGS}, not {layout!r}")
    lazy = [n for n, p in module.named_parameters() if isinstance(p, UninitializedParameter)]
    if lazy:
        reasons = [f"{name} is not initialized yet; run one forward pass before" for name in lazy]
        raise UnsupportedModelError(f"can't pack {type(module).__name__}", reasons)
    pruners = pruners_of(module)
    for pruner in pruners:
        pruner.settle()
    lowering = read(module, trace(module), input_size, layout)
    if not all(pruner.complete for pruner in pruners):
        warnings.warn(
            f"{type(module).__name__} is packed before its pruning has ended: what is stored is "
            "neither the dense nor the pruned network. Finish the schedule and call finalize()",
            ScheduleWarning,
            stacklevel=2,
        )
    storage = Storage(module, pattern, pruners)
    size = lowering.input_size
    assert size is not None
    result = packed.PackedModel(
        tuple(draft.build(storage) for draft in lowering.drafts),
        packed.Tokens(size) if lowering.tokens else packed.Features(size),
        lowering.output,
        dict(metadata or {}),
        dict(provenance or {}),
    )
    packed.verify(result)
    stored, untrained, astray = storage.encode(result, precision, keep_fp32)
    if astray:
        now, then = (sum(sizes) for sizes in zip(*astray.values(), strict=True))
        warnings.warn(
            f"{', '.join(astray)} do not follow {pattern}, and are stored dense in"
            f" {now:,} bytes, where another format takes {then:,}: leave the pattern out to have"
            " the smallest",
            CsbrnnWarning,
            stacklevel=2,
        )
    if untrained:
        warnings.warn(
            f"{', '.join(untrained)} are rounded, but were not while the model was trained for"
            f" {stored.precision}: they are not weights of recurrent or linear layers, or were"
            " replaced since; compare accuracy, or name them in keep_fp32",
            ScheduleWarning,
            stacklevel=2,
        )
    return stored


def read(
    module: nn.Module, traces: list[Trace], input_size: int | None, layout: str | None
) -> Lowering:
    """Follows a forward: by the first reading of its input's axes that can all be carried.

    Raises:
        UnsupportedModelError: There is none, or hooks may change what forward computes; with all
            reasons.
    """
    what = f"can't pack {type(module).__name__}"
    if has_foreign_hooks(module):  # those of modules inside are traced, or refused where they are
        raise UnsupportedModelError(what, [f"the module {FOREIGN_HOOKS}"])
    finite: dict[TensorKey, bool] = {}
    refused: list[Lowering] = []
    for rank in _READINGS:
        # An input with more axes, which torch would take, would be computed differently.
        doubtful = [attempt for attempt in refused if attempt.misread == 0]
        for traced, axes in product(traces, rank):
            if layout not in (None, axes):
                continue
            attempt = _lower(traced, tuple(axes), input_size, finite)
            if attempt.reasons:
                refused.append(attempt)
            elif not doubtful:
                return attempt
            else:
                hint = f"if the input is {axes!r} without a batch, pass layout={axes!r}"
                raise UnsupportedModelError(what, [*_clearest(doubtful).reasons, hint])
    raise UnsupportedModelError(what, _clearest(refused).reasons)


def _clearest(refused: list[Lowering]) -> Lowering:
    """The reading that explains best: one that torch would accept, with the least in the way."""
    return min(refused, key=lambda lowering: (lowering.misread, len(lowering.reasons)))


def _lower(
    traced: Trace, axes: tuple[str, ...], input_size: int | None, finite: dict[TensorKey, bool]
) -> Lowering:
    lowering = Lowering(traced, axes, input_size, finite)
    lowering.run()
    if input_size is None and lowering.input_size is not None:
        # Only now is the input's size known to what came before its first sized reader.
        return _lower(traced, axes, lowering.input_size, finite)
    if lowering.input_size is None and not lowering.reasons:
        lowering.reasons.append("no layer tells the size of the input: pass input_size=")
    return lowering
