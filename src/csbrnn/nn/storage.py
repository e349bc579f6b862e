"""How the weights of a module are stored: precision and format of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from csbrnn import model as packed
from csbrnn.errors import ArgumentError
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
        pruners: What prunes it, or parts of it.
    """

    def __init__(
        self, module: nn.Module, pattern: Pattern | None, pruners: Sequence[Pruner]
    ) -> None:
        self._pattern, self._pruners = pattern, pruners
        self._parameters = {tensor_key(parameter): parameter for parameter in module.parameters()}
        self._matrices: dict[TensorKey, DenseMatrix] = {}
        # For each matrix, the pruners that know the parameter it copies, and its name in each.
        self._known: dict[Matrix, list[tuple[Pruner, str]]] = {}

    def matrix(self, tensor: Tensor) -> Matrix:
        """Returns a copy of a weight matrix."""
        key = tensor_key(tensor)
        if key not in self._matrices:
            self._matrices[key] = matrix = DenseMatrix(fp32_copy(tensor))
            weight = self._parameters.get(key, tensor)
            self._known[matrix] = [
                (pruner, name) for pruner in self._pruners for name in pruner.names_of(weight)
            ]
        return self._matrices[key]

    def vector(self, tensor: Tensor) -> packed.Vector:
        """Returns a copy of a vector."""
        return fp32_copy(tensor)

    def encode(
        self, model: packed.PackedModel, precision: Precision | str | None, keep_fp32: Iterable[str]
    ) -> tuple[packed.PackedModel, list[str], dict[str, tuple[int, int]]]:
        """Rounds and compresses the matrices of a model made with `matrix`.

        Args:
            model: The model.
            precision: As for `pack`; None for the pruner's.
            keep_fp32: As for `csbrnn.model.quantize`.

        Returns:
            The model; the matrices that are rounded now though they were not in training, if the
            pruner trained for this precision; and those that do not follow the pattern asked for,
            stored dense though another format is smaller: name -> bytes, and bytes in that format.

        Raises:
            ArgumentError: Parts of the module are trained for different precisions.
        """
        precisions = sorted({pruner.recipe.precision for pruner in self._pruners} - {"fp32"})
        if len(precisions) > 1 and precision is None:
            raise ArgumentError(
                f"parts of the module are trained for {' and '.join(precisions)}: pass precision=,"
                " and name in keep_fp32 what must not be rounded to it"
            )
        trained = precisions[0] if precisions else "fp32"
        wanted = trained if precision is None else precision
        kept = {name for name, m in model.products.items() if trained != "fp32" and self._keeps(m)}
        keep_fp32 = [keep_fp32] if isinstance(keep_fp32, str) else list(keep_fp32)
        rounded = packed.quantize(model, wanted, keep_fp32=[*keep_fp32, *sorted(kept)])
        encoded: dict[tuple[Matrix, Precision], Matrix] = {}
        astray: dict[str, tuple[int, int]] = {}

        def stored(name: str, matrix: Matrix) -> Matrix:
            source = model.matrices[name], matrix.precision
            if source not in encoded:
                encoded[source] = self._encode(*source)
                if self._pattern is not None and isinstance(encoded[source], DenseMatrix):
                    dense, least = encoded[source], encode(source[0].to_dense(), None, source[1])
                    if least.nbytes < dense.nbytes:
                        astray[name] = dense.nbytes, least.nbytes
            return encoded[source]

        untrained = [
            name
            for name, matrix in rounded.products.items()
            if matrix.dtype == trained != "fp32" and not self._is_trained(model.products[name])
        ]
        return packed.map_matrices(rounded, stored), untrained, astray

    def _keeps(self, matrix: Matrix) -> bool:
        """Whether a recipe names a weight in keep_fp32."""
        return any(pruner.keeps_fp32(name) for pruner, name in self._known[matrix])

    def _is_trained(self, matrix: Matrix) -> bool:
        return any(pruner.precision_of(name) is not FP32 for pruner, name in self._known[matrix])

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
        if pattern is None:
            for pruner, name in self._known[matrix]:
                if (known := pruner.pattern_of(name)) is not None:
                    pattern, pieces = known, pruner.pieces_of(name)
                    diagonal = pruner.recipe.keep_diagonal
                    break
        candidates = None if pattern is None else fitting_candidates(pattern, matrix.shape, pieces)
        if candidates is not None and diagonal:
            # A diagonal beside the pattern lies across its blocks: others may hold it better.
            candidates += default_candidates(matrix.shape)
        return candidates
