"""A torch module's units: its forward is traced, as `pack` does, and its parameters are found."""

from __future__ import annotations

import numpy as np
from torch import Tensor, nn

from csbrnn import model as packed
from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import DenseMatrix, Matrix
from csbrnn.nn.trace import trace
from csbrnn.nn.values import TensorKey, fp32_copy, tensor_key
from csbrnn.units.spaces import Spaces, Weight, find_spaces

__all__ = ["ModuleUnits", "units_of"]


class ModuleUnits:
    """The spaces of a module's units, and the names of its parameters.

    Attributes:
        spaces: Of the packed model that the module's forward amounts to.
        names: id of each of the packed model's weights -> qualified names of the parameter, more
            than one if modules share it.
    """

    def __init__(self, spaces: Spaces, names: dict[int, tuple[str, ...]]) -> None:
        self.spaces = spaces
        self.names = names

    def weights(self) -> dict[str, Weight]:
        """Returns every parameter's weight in the packed model, by each of its names."""
        return {n: weight for weight in self.spaces.weights() for n in self.names[id(weight)]}


def units_of(module: nn.Module, *, what: str) -> ModuleUnits:
    """Finds every use of every unit of a module.

    Args:
        module: The module, unwrapped.
        what: What was attempted, for messages: "can't permute".

    Raises:
        UnsupportedModelError: Its forward can't be followed, a weight is no parameter, or forward
            does not use a parameter, so that something else may; with all reasons.
    """
    # Packing reads what prunes a module, and so imports pruning, which imports this.
    from csbrnn.nn.packing import read

    try:
        lowering = read(module, trace(module), None, None)
    except UnsupportedModelError as error:
        raise UnsupportedModelError(f"{what} {type(module).__name__}", error.reasons) from error
    recorder = _Recorder()
    layers = tuple(draft.build(recorder) for draft in lowering.drafts)
    size = lowering.input_size
    assert size is not None
    signal = packed.Tokens(size) if lowering.tokens else packed.Features(size)
    spaces = find_spaces(packed.PackedModel(layers, signal, lowering.output))

    known: dict[TensorKey, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        known.setdefault(tensor_key(parameter), []).append(name)
    keys = {id(weight): key for key, weight in recorder.weights.items()}
    names = {id(w): tuple(known.get(keys[id(w)], ())) for w in spaces.weights()}
    reasons = [
        f"{', '.join(space.name for space in spaces.axes(weight)[0][:1])}: a weight is not a"
        " parameter of the module, but computed from others, or a buffer"
        for weight in spaces.weights()
        if not names[id(weight)]
    ]
    used = {name for found in names.values() for name in found}
    idle = [name for found in known.values() for name in found if name not in used]
    if idle:
        reasons.append(
            f"forward's output does not depend on {', '.join(idle)}: what else reads them can't be"
            " known; remove them"
        )
    if reasons:
        raise UnsupportedModelError(f"{what} {type(module).__name__}", reasons)
    return ModuleUnits(spaces, names)


class _Recorder:
    """Makes weights of tensors, the same one each time, so that they can be told apart."""

    def __init__(self) -> None:
        self.weights: dict[TensorKey, Weight] = {}

    def matrix(self, tensor: Tensor) -> Matrix:
        key = tensor_key(tensor)
        if key not in self.weights:
            self.weights[key] = DenseMatrix(fp32_copy(tensor))
        matrix = self.weights[key]
        assert isinstance(matrix, Matrix)
        return matrix

    def vector(self, tensor: Tensor) -> packed.Vector:
        key = tensor_key(tensor)
        if key not in self.weights:
            self.weights[key] = fp32_copy(tensor)
        vector = self.weights[key]
        assert isinstance(vector, np.ndarray)
        return vector
