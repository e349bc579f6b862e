"""`quantize`: a packed model with its weights in another precision."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from fnmatch import fnmatchcase

from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.formats import Matrix
from csbrnn.model.graph import PackedModel
from csbrnn.model.layers import Embedding, Layer, Linear, Recurrent
from csbrnn.numerics import Precision, precision_of

__all__ = ["map_matrices", "quantize"]


def quantize(
    model: PackedModel,
    precision: Precision | str,
    *,
    include: Iterable[str] | None = None,
    keep_fp32: Iterable[str] = (),
) -> PackedModel:
    """Return the model with its weight matrices in ``precision``: the same ones kept, rounded.

    Vectors stay fp32, and so do embedding tables, of which a step reads one row, unless
    ``include`` names them. Static activation scales of matrices that leave int8 are dropped.

    Args:
        model: The model, of any precision. Round only once: from fp32.
        precision: A name in `csbrnn.numerics.PRECISIONS`.
        include: Patterns of "layer/parameter", "*" standing for anything ("lstm/*",
            "*/weight_hh_*"): only these matrices. Left out: those of recurrent and linear layers.
            Names may be spelled with a dot as well, "lstm.weight_hh_l0", as modules have them.
        keep_fp32: Patterns of matrices that are left as they are: the first and the last layer
            lose most by rounding.

    Raises:
        ArgumentError: The precision is unknown, or a pattern fits no matrix.
        UnsupportedModelError: Matrices have more columns than the precision allows: all of them.
    """
    precision = precision_of(precision)
    chosen = set(model.products if include is None else _matching(model, include, "include"))
    chosen -= _matching(model, keep_fp32, "keep_fp32")
    problems = {n: precision.column_problem(model.matrices[n].shape[1]) for n in sorted(chosen)}
    if reasons := [f"{name} {problem}" for name, problem in problems.items() if problem]:
        raise UnsupportedModelError(
            f"can't be quantized to {precision.name}; name them in keep_fp32", reasons
        )
    # A matrix that layers share stays one.
    rounded = {m: m.with_precision(precision) for n, m in model.matrices.items() if n in chosen}
    quantized = map_matrices(
        model, lambda name, matrix: rounded[matrix] if name in chosen else matrix
    )
    scaled = {
        name for name, matrix in quantized.products.items() if matrix.precision.rounds_operand
    }
    scales = {name: s for name, s in model.activation_scales.items() if name in scaled}
    return replace(quantized, activation_scales=scales)


def map_matrices(model: PackedModel, function: Callable[[str, Matrix], Matrix]) -> PackedModel:
    """Return the model with each matrix replaced by ``function`` of "layer/parameter" and it."""
    layers = tuple(_map_layer(layer, function) for layer in model.layers)
    return replace(model, layers=layers)


def _map_layer(layer: Layer, function: Callable[[str, Matrix], Matrix]) -> Layer:
    if isinstance(layer, Recurrent):
        parameters = {
            name: function(f"{layer.name}/{name}", value) if isinstance(value, Matrix) else value
            for name, value in layer.parameters.items()
        }
        return replace(layer, parameters=parameters)
    if isinstance(layer, Linear | Embedding):
        return replace(layer, weight=function(f"{layer.name}/weight", layer.weight))
    return layer


def _matching(model: PackedModel, patterns: Iterable[str], argument: str) -> set[str]:
    found: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        # Also as the module has it, whose names have dots: what a recipe says fits here, too.
        names = {
            name
            for name in model.matrices
            if fnmatchcase(name, pattern) or fnmatchcase(name.replace("/", "."), pattern)
        }
        if not names:
            known = ", ".join(list(model.matrices)[:16])
            raise ArgumentError(f"{argument}: {pattern!r} fits no matrix; there are {known}")
        found |= names
    return found
