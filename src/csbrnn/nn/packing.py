"""`pack`: any torch module whose forward a packed model can carry, as a packed model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from itertools import product
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from csbrnn import model as packed
from csbrnn.errors import ArgumentError, ScheduleWarning, UnsupportedModelError
from csbrnn.formats import Candidate, Matrix, encode
from csbrnn.nn.lowering import Lowering
from csbrnn.nn.trace import Trace, trace
from csbrnn.patterns import CSB, Pattern
from csbrnn.pruning import Pruner, pruner_of
from csbrnn.pruning.targets import unwrap

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
) -> packed.PackedModel:
    """Makes a packed model that computes what ``module`` computes in evaluation mode.

    The forward is traced, not run. It may use embeddings, linear layers, recurrent layers
    (`torch.nn`'s, their cells in a forward of one step, `csbrnn.nn.Recurrent`), relu, tanh,
    sigmoid and softmaxes over the features, sums and products of two layers' outputs,
    concatenation of features, dropout (left out), and whatever moves axes but leaves each step
    whole. States may begin with zero, or be passed in by the caller and returned. Batch and time
    may lie in any order. Weights are stored bit for bit, each in the smallest lossless format.

    Args:
        module: The module, pruned or not; it is not changed. What DistributedDataParallel,
            DataParallel or torch.compile wrap is packed.
        pattern: The pattern that its weights follow, as a hint for storage. Left out, it is
            what `csbrnn.pruning` pruned each weight to, or found by trying.
        metadata: Facts to keep beside the model, e.g. ``{"vocabulary": [...]}``.
        provenance: How the model was made.
        input_size: Features of the input (or size of the vocabulary), for models where no layer
            tells.
        layout: Axes of the input: "TBF" (time, batch, features), "BTF", "TF", "BF" (one step), "F",
            or for tokens "TB", "BT", "T", "B". Found by trying if left out.

    Warns:
        ScheduleWarning: The module is being pruned, and pruning has not ended.

    Raises:
        ArgumentError: ``module`` is no module, or ``layout`` none of the above.
        UnsupportedModelError: Something can't be carried: all reasons, each with its place.
    """
    if not isinstance(module, nn.Module):
        raise ArgumentError(f"pack takes a torch.nn.Module, not {type(module).__name__}")
    module = unwrap(module)
    if layout is not None and layout not in {text for rank in _READINGS for text in rank}:
        raise ArgumentError(f"layout must be one of {_READINGS}, not {layout!r}")
    lowering = _read(module, trace(module), input_size, layout)
    pruner = pruner_of(module)
    if pruner is not None and not pruner.complete:
        warnings.warn(
            f"{type(module).__name__} is packed before its pruning has ended: what is stored is "
            "neither the dense nor the pruned network. Finish the schedule and call finalize()",
            ScheduleWarning,
            stacklevel=2,
        )
    weights = _Encoder(module, pattern, pruner)
    size = lowering.input_size
    assert size is not None
    result = packed.PackedModel(
        tuple(draft.build(weights) for draft in lowering.drafts),
        packed.Tokens(size) if lowering.tokens else packed.Features(size),
        lowering.output,
        dict(metadata or {}),
        dict(provenance or {}),
    )
    packed.verify(result)
    return result


def _read(
    module: nn.Module, traces: list[Trace], input_size: int | None, layout: str | None
) -> Lowering:
    """The first reading of the input's axes under which everything can be carried."""
    what = f"can't pack {type(module).__name__}"
    refused: list[Lowering] = []
    for rank in _READINGS:
        # An input with more axes, which torch would take, would be computed differently.
        doubtful = [attempt for attempt in refused if attempt.misread == 0]
        for traced, axes in product(traces, rank):
            if layout not in (None, axes):
                continue
            attempt = _lower(traced, tuple(axes), input_size)
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


def _lower(traced: Trace, axes: tuple[str, ...], input_size: int | None) -> Lowering:
    lowering = Lowering(traced, axes, input_size)
    lowering.run()
    if input_size is None and lowering.input_size is not None:
        # Only now is the input's size known to what came before its first sized reader.
        return _lower(traced, axes, lowering.input_size)
    if lowering.input_size is None and not lowering.reasons:
        lowering.reasons.append("no layer tells the size of the input: pass input_size=")
    return lowering


_Key: TypeAlias = tuple[int, tuple[int, ...], tuple[int, ...], torch.dtype]


class _Encoder:
    """Stores tensors: each weight once, however many layers share it.

    Every tensor must stay alive while this does, as the drafts' and the module's do: addresses
    tell them apart.
    """

    def __init__(self, module: nn.Module, pattern: Pattern | None, pruner: Pruner | None) -> None:
        self._names = {_key(p): n for n, p in module.named_parameters(remove_duplicate=False)}
        self._pattern, self._pruner = pattern, pruner
        self._matrices: dict[_Key, Matrix] = {}

    def matrix(self, tensor: Tensor) -> Matrix:
        key = _key(tensor)
        if key not in self._matrices:
            pattern = self._pattern
            if pattern is None and self._pruner is not None and key in self._names:
                pattern = self._pruner.pattern_of(self._names[key])
            array = _array(tensor)
            # Without zeros dense is the smallest: nothing to try.
            candidates = _candidates(pattern, array.shape) if not array.all() else []
            self._matrices[key] = encode(array, candidates)
        return self._matrices[key]

    def vector(self, tensor: Tensor) -> packed.Vector:
        return _array(tensor)


def _key(tensor: Tensor) -> _Key:
    """The same for tensors that are the same memory read in the same way."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype


def _array(tensor: Tensor) -> packed.Vector:
    # A copy: packed models never change, and training may go on.
    array: packed.Vector = tensor.detach().float().cpu().numpy().copy()
    return array


def _candidates(pattern: Pattern | None, shape: tuple[int, ...]) -> list[Candidate] | None:
    """How a pattern's matrices are best cut; None where that is to be found by trying."""
    if not isinstance(pattern, CSB):
        return None
    rows, columns = (size or whole for size, whole in zip(pattern.block, shape, strict=True))
    return [
        Candidate((-(-rows // pattern.row_group) * pattern.row_group, columns), pattern.row_group)
    ]
