"""How the weights of a module are stored: precision and format of each."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from csbrnn import model as packed
from csbrnn.formats import Candidate, DenseMatrix, Matrix, default_candidates, encode
from csbrnn.nn.pattern_formats import fitting_candidates
from csbrnn.nn.values import TensorKey, fp32_copy, tensor_key
from csbrnn.numerics import FP32, Precision
from csbrnn.patterns import Pattern
from csbrnn.pruning import Pruner

__all__ = ["Storage"]


class Storage:
    """Takes a module's tensors into a packed model, each once, however many layers share it.

    First all are copied as they are; which precision a matrix gets depends on the layers that read
    it, so `encode` comes when the model is complete.

    Every tensor must stay alive while this does, as the drafts' and the module's do: addresses
    tell them apart.

    Args:
        module: Whose parameters the tensors are.
        pattern: What its weights follow, if known.
        pruner: What prunes it, if anything.
    """

    def __init__(self, module: nn.Module, pattern: Pattern | None, pruner: Pruner | None) -> None:
        self._pattern, self._pruner = pattern, pruner
        self._keys: dict[TensorKey, list[str]] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            self._keys.setdefault(tensor_key(parameter), []).append(name)
        self._matrices: dict[TensorKey, DenseMatrix] = {}
        # The qualified names of what each matrix is a copy of; none if it is no whole parameter.
        self._names: dict[Matrix, list[str]] = {}

    def matrix(self, tensor: Tensor) -> Matrix:
        """Returns a copy of a weight matrix."""
        key = tensor_key(tensor)
        if key not in self._matrices:
            self._matrices[key] = matrix = DenseMatrix(fp32_copy(tensor))
            self._names[matrix] = self._keys.get(key, [])
        return self._matrices[key]

    def vector(self, tensor: Tensor) -> packed.Vector:
        """Returns a copy of a vector."""
        return fp32_copy(tensor)

    def encode(
        self, model: packed.PackedModel, precision: Precision | str | None, keep_fp32: Iterable[str]
    ) -> tuple[packed.PackedModel, list[str]]:
        """Rounds and compresses the matrices of a model made with `matrix`.

        Args:
            model: The model.
            precision: As for `pack`; None for the pruner's.
            keep_fp32: As for `csbrnn.model.quantize`.

        Returns:
            The model, and the matrices that are rounded now though they were not in training, if
            the pruner trained for this precision.
        """
        trained = "fp32" if self._pruner is None else self._pruner.recipe.precision
        wanted = trained if precision is None else precision
        kept = {name for name, m in model.products.items() if trained != "fp32" and self._keeps(m)}
        keep_fp32 = [keep_fp32] if isinstance(keep_fp32, str) else list(keep_fp32)
        rounded = packed.quantize(model, wanted, keep_fp32=[*keep_fp32, *sorted(kept)])
        encoded: dict[tuple[Matrix, Precision], Matrix] = {}

        def stored(name: str, matrix: Matrix) -> Matrix:
            source = model.matrices[name], matrix.precision
            if source not in encoded:
                encoded[source] = self._encode(*source)
            return encoded[source]

        untrained = [
            name
            for name, matrix in rounded.products.items()
            if matrix.dtype == trained != "fp32" and not self._is_trained(model.products[name])
        ]
        return packed.map_matrices(rounded, stored), untrained

    def _keeps(self, matrix: Matrix) -> bool:
        """Whether the recipe names a weight in keep_fp32."""
        pruner = self._pruner
        return pruner is not None and any(map(pruner.keeps_fp32, self._names[matrix]))

    def _is_trained(self, matrix: Matrix) -> bool:
        pruner = self._pruner
        return pruner is not None and any(
            pruner.precision_of(name) is not FP32 for name in self._names[matrix]
        )

    def _encode(self, matrix: Matrix, precision: Precision) -> Matrix:
        array = matrix.to_dense()
        candidates = self._candidates(matrix)
        if array.all():
            # Without zeros only what needs none can be smaller than dense.
            candidates = [c for c in candidates or () if not c.needs_zeros]
        return encode(array, candidates, precision)

    def _candidates(self, matrix: Matrix) -> list[Candidate] | None:
        """The formats that fit a matrix's pattern; None where that is to be found by trying."""
        pattern, pieces, diagonal = self._pattern, 1, False
        if pattern is None and self._pruner is not None and self._names[matrix]:
            name = self._names[matrix][0]
            pattern, pieces = self._pruner.pattern_of(name), self._pruner.pieces_of(name)
            diagonal = self._pruner.recipe.keep_diagonal
        candidates = None if pattern is None else fitting_candidates(pattern, matrix.shape, pieces)
        if candidates is not None and diagonal:
            # A diagonal beside the pattern lies across its blocks: others may hold it better.
            candidates += default_candidates(matrix.shape)
        return candidates
