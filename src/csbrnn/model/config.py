"""A packed model as JSON-able values and named tensors, and back: the content of config.json.

A matrix's arrays are tensors named "layer/parameter/array", a vector is one named
"layer/parameter". See docs/spec/format.md.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.cells import Cell, Stack
from csbrnn.checks import is_number
from csbrnn.errors import FormatError
from csbrnn.formats import MAX_DIMENSION, Fields, Matrix, located, matrix_from_arrays, shown
from csbrnn.model.graph import MAX_LAYERS, NAME, PackedModel
from csbrnn.model.layers import (
    LAYERS,
    MAX_STACK,
    Activation,
    Combine,
    Embedding,
    Features,
    Layer,
    Linear,
    Recurrent,
    Signal,
    Tokens,
    Vector,
)

__all__ = ["FORMAT_NAME", "FORMAT_VERSION", "Tensors", "config_from_model", "model_from_config"]

FORMAT_NAME: Final = "csbrnn-packed-model"
FORMAT_VERSION: Final = 4
"""Newest version that is read. A model is written in the oldest that can carry it."""

_FORMAT_SINCE: Final = {"dense": 1, "csb": 1}
_DTYPE_SINCE: Final = {"fp32": 1, "bf16": 2, "int8": 2}
_ENCODING_SINCE: Final = {"all": 1, "flags": 1, "bitmap": 1, "list": 1, "gaps": 4}
"""The version since which a matrix may be stored so; 3 for other formats and dtypes."""

_INDICES: Final = ("index", "row_index", "col_index")
"""Parameters of formats that name an encoding."""

MAX_INPUTS: Final = 64
"""Most inputs of a layer. Ours: bounds work on hostile input."""

Tensors = dict[str, NDArray[Any]]
Unread = dict[tuple[str, ...], Tensors]
Parameters = dict[str, Matrix | Vector]


def config_from_model(model: PackedModel) -> tuple[dict[str, Any], Tensors]:
    """Return the configuration and the tensors of a verified model."""
    tensors: Tensors = {}
    version = max((_needed_version(matrix)[0] for matrix in model.matrices.values()), default=1)
    config = {
        "format": FORMAT_NAME,
        "version": version,
        "input": (
            {"kind": "features", "size": model.input.size}
            if isinstance(model.input, Features)
            else {"kind": "tokens", "vocabulary": model.input.vocabulary}
        ),
        "output": model.output,
        "layers": [_layer_config(layer, tensors) for layer in model.layers],
        "metadata": dict(model.metadata),
        "provenance": dict(model.provenance),
    }
    if version >= 2:
        config["activation_scales"] = dict(model.activation_scales)
    return config, tensors


def model_from_config(config: object, tensors: Tensors, where: str) -> PackedModel:
    """Read a model back, trusting nothing. The graph itself is for `verify` to check.

    Args:
        config: Parsed JSON.
        tensors: By name; used in place.
        where: The configuration's place, for messages.

    Raises:
        FormatError: A key or tensor is missing, unknown, or not what it must be.
    """
    fields = Fields(config, where, ": ")
    fields.choice("format", (FORMAT_NAME,))
    version = fields.integer("version", 1, MAX_DIMENSION)
    if version > FORMAT_VERSION:
        raise FormatError(
            f"{where}: version must be at most {FORMAT_VERSION}, not {version}; a newer csbrnn"
            " wrote this model: update csbrnn to read it"
        )
    model_input = _read_input(fields.fields("input"))
    output = fields.string("output", 128)
    unread = _by_parameter(tensors)
    layers = tuple(
        _read_layer(Fields(layer, f"{fields.place('layers')}[{i}]"), unread)
        for i, layer in enumerate(fields.items("layers", MAX_LAYERS))
    )
    metadata, provenance = (fields.fields(key).rest() for key in ("metadata", "provenance"))
    scales = _read_scales(fields.fields("activation_scales")) if version >= 2 else {}
    fields.done()
    if unread:
        names = ", ".join(shown("/".join(key)) for key in sorted(unread)[:8])
        raise FormatError(f"{where}: tensors that no layer has: {names}")
    model = PackedModel(layers, model_input, output, metadata, provenance, scales)
    for name, matrix in model.matrices.items():
        needed, what = _needed_version(matrix)
        if version < needed:
            raise FormatError(f"{where}: {shown(name)} is in {what}, as of version {needed}")
    return model


def _needed_version(matrix: Matrix) -> tuple[int, str]:
    """The first version of the format that can carry a matrix, and what asks for it."""
    encodings = [value for key, value in matrix.parameters().items() if key in _INDICES]
    return max(
        (_DTYPE_SINCE.get(matrix.dtype, 3), matrix.dtype),
        (_FORMAT_SINCE.get(matrix.FORMAT, 3), matrix.FORMAT),
        *((_ENCODING_SINCE[encoding], f"encoding {encoding}") for encoding in encodings),
    )


def _layer_config(layer: Layer, tensors: Tensors) -> dict[str, Any]:
    config: dict[str, Any] = {
        "kind": layer.KIND,
        "name": layer.name,
        "inputs": list(layer.inputs),
    }
    if isinstance(layer, Recurrent):
        config["stack"] = {"cell": layer.stack.cell.to_dict()} | {
            key: getattr(layer.stack, key)
            for key in ("input_size", "hidden_size", "proj_size", "num_layers", "bidirectional")
        }
    if isinstance(layer, Activation | Combine):
        config["function"] = layer.function
        return config
    config["parameters"] = headers = {}
    for name, matrix in layer.matrices.items():
        headers[name] = matrix.header()
        for array, values in matrix.arrays().items():
            tensors[f"{layer.name}/{name}/{array}"] = values
    for name, vector in layer.vectors.items():
        headers[name] = {"format": "vector", "shape": list(vector.shape), "dtype": "fp32"}
        tensors[f"{layer.name}/{name}"] = vector
    return config


def _read_input(fields: Fields) -> Signal:
    kind = fields.choice("kind", ("features", "tokens"))
    key = "size" if kind == "features" else "vocabulary"
    count = fields.integer(key, 1, MAX_DIMENSION)
    fields.done()
    return Features(count) if kind == "features" else Tokens(count)


def _read_scales(fields: Fields) -> dict[str, float]:
    """Read names and numbers; `verify` tells whether they fit the model."""
    scales: dict[str, float] = {}
    where = fields.where
    for name, value in fields.rest().items():
        if not is_number(value):
            raise FormatError(f"{where}[{shown(name)}] must be a number, not {shown(value)}")
        scales[name] = float(value)
    return scales


def _read_layer(fields: Fields, unread: Unread) -> Layer:
    kind = LAYERS[fields.choice("kind", LAYERS)]
    name = fields.string("name", 128)
    if not NAME.fullmatch(name):
        raise FormatError(f"{fields.place('name')} must match {NAME.pattern}, not {shown(name)}")
    inputs = fields.strings("inputs", MAX_INPUTS, 128)
    if kind is Activation or kind is Combine:
        function = fields.choice("function", kind.FUNCTIONS)
        fields.done()
        return kind(name, inputs, function)
    stack = _read_stack(fields.fields("stack")) if kind is Recurrent else None
    parameters = _read_parameters(fields.fields("parameters"), name, unread)
    fields.done()
    if stack is not None:
        return Recurrent(name, inputs, stack, parameters)
    weight, bias = parameters.pop("weight", None), None
    if kind is Linear:
        bias = parameters.pop("bias", None)
    if not isinstance(weight, Matrix) or isinstance(bias, Matrix) or parameters:
        raise FormatError(
            f"{fields.place('parameters')} must be a matrix, weight"
            f"{', and may be a vector, bias' if kind is Linear else ''}"
        )
    return Linear(name, inputs, weight, bias) if kind is Linear else Embedding(name, inputs, weight)


def _read_stack(fields: Fields) -> Stack:
    cell = fields.take("cell")
    input_size = fields.integer("input_size", 1, MAX_DIMENSION)
    hidden_size = fields.integer("hidden_size", 1, MAX_DIMENSION)
    proj_size = fields.integer("proj_size", 0, MAX_DIMENSION)
    num_layers = fields.integer("num_layers", 1, MAX_STACK)
    bidirectional = fields.boolean("bidirectional")
    fields.done()
    with located(fields.where):
        return Stack(
            Cell.from_dict(cell), input_size, hidden_size, proj_size, num_layers, bidirectional
        )


def _read_parameters(fields: Fields, layer: str, unread: Unread) -> Parameters:
    parameters: Parameters = {}
    place = fields.where
    for name, header in fields.rest().items():
        where, arrays = f"{place}[{shown(name)}]", unread.pop((layer, name), {})
        if isinstance(header, dict) and header.get("format") == "vector":
            parameters[name] = _read_vector(Fields(header, where), arrays)
        else:
            parameters[name] = matrix_from_arrays(header, arrays, where)
    return parameters


def _by_parameter(tensors: Tensors) -> Unread:
    """Group tensors by (layer, parameter); a vector's only array is named ""."""
    grouped: Unread = {}
    for name, values in tensors.items():
        layer, _, rest = name.partition("/")
        parameter, _, array = rest.partition("/")
        grouped.setdefault((layer, parameter), {})[array] = values
    return grouped


def _read_vector(fields: Fields, arrays: Tensors) -> Vector:
    fields.choice("format", ("vector",))
    fields.choice("dtype", ("fp32",))
    (size,) = fields.integers("shape", 1, 0, MAX_DIMENSION)
    fields.done()
    if set(arrays) != {""}:
        raise FormatError(f"{fields.where} must have one tensor, layer/parameter, and no other")
    values = arrays[""]
    if values.dtype != np.float32 or values.shape != (size,):
        raise FormatError(
            f"{fields.where} must be float32 of shape ({size},),"
            f" not {values.dtype} of shape {values.shape}"
        )
    return values
