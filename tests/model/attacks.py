"""Hostile packed models: each attack changes the parts of a good one, and says what must refuse it.

An attack takes the parts of the language model of `models` and changes them in place. The header
of the tensor file is a dictionary, its data one bytearray; `write` puts them together, right or
wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.formats import (
    BSRMatrix,
    CirculantMatrix,
    CSBMatrix,
    CSRMatrix,
    DenseMatrix,
    Matrix,
    SparseBanksMatrix,
)
from csbrnn.model import map_matrices, quantize, save
from csbrnn.model.config import config_from_model
from csbrnn.model.tensors import serialize_tensors

from .models import language_model


@dataclass
class Parts:
    """A packed model in pieces; whatever is set in ``raw`` replaces what the pieces would give."""

    config: dict[str, Any]
    header: dict[str, Any]
    data: bytearray
    raw: dict[str, bytes] = field(default_factory=dict)

    @property
    def layers(self) -> list[dict[str, Any]]:
        return self.config["layers"]

    @property
    def stack(self) -> dict[str, Any]:
        return self.layers[1]["stack"]

    @property
    def matrix(self) -> dict[str, Any]:
        return self.layers[1]["parameters"]["weight_ih_l0"]

    def view(self, tensor: str) -> memoryview:
        begin, end = self.header[tensor]["data_offsets"]
        return memoryview(self.data)[begin:end]


def parts_of(directory: Path) -> Parts:
    save(language_model(), directory)
    config = json.loads((directory / "config.json").read_bytes())
    tensors = (directory / "model.safetensors").read_bytes()
    size = int.from_bytes(tensors[:8], "little")
    return Parts(config, json.loads(tensors[8 : 8 + size]), bytearray(tensors[8 + size :]))


def write(parts: Parts, directory: Path) -> None:
    header = parts.raw.get("header", json.dumps(parts.header).encode())
    header += b" " * (-len(header) % 8)
    size = parts.raw.get("size", len(header).to_bytes(8, "little"))
    tensors = parts.raw.get("tensors", size + header + bytes(parts.data))
    config = parts.raw.get("config", json.dumps(parts.config).encode())
    for name, content in (("config.json", config), ("model.safetensors", tensors)):
        (directory / name).unlink(missing_ok=True)
        (directory / name).write_bytes(content)


ATTACKS: dict[str, tuple[str, Callable[[Parts], None]]] = {}
"""Name -> regular expression of the refusal, and the attack."""


def attack(refusal: str) -> Callable[[Callable[[Parts], None]], Callable[[Parts], None]]:
    def register(function: Callable[[Parts], None]) -> Callable[[Parts], None]:
        ATTACKS[function.__name__] = (refusal, function)
        return function

    return register


# --- config.json as text -------------------------------------------------------------------------


@attack(r"config\.json: must be JSON in UTF-8")
def empty_config(parts: Parts) -> None:
    parts.raw["config"] = b""


@attack(r"config\.json: must be JSON in UTF-8")
def config_not_utf8(parts: Parts) -> None:
    parts.raw["config"] = b'{"format": "\xff"}'


@attack(r"config\.json: must have at most 4194304 bytes")
def config_too_large(parts: Parts) -> None:
    parts.raw["config"] = json.dumps(parts.config).encode() + b" " * (4 << 20)


@attack(r"config\.json: must nest at most 32 deep")
def nested_beyond_python(parts: Parts) -> None:
    parts.raw["config"] = b"[" * 1_000_000


@attack(r"config\.json: must nest at most 32 deep")
def nested_metadata(parts: Parts) -> None:
    nested: dict[str, Any] = parts.config["metadata"]
    for _ in range(40):
        nested["x"] = nested = {}


@attack(r"config\.json: key 'version' appears twice")
def duplicate_key(parts: Parts) -> None:
    parts.raw["config"] = json.dumps(parts.config)[:-1].encode() + b', "version": 1}'


@attack(r"config\.json: numbers must be finite, not NaN")
def nan(parts: Parts) -> None:
    parts.config["metadata"]["loss"] = float("nan")


@attack(r"config\.json: numbers must be finite, not inf")
def infinite_by_overflow(parts: Parts) -> None:
    parts.raw["config"] = json.dumps(parts.config).encode().replace(b"1.5", b"1e400")


@attack(r"config\.json: integers must fit 64 bits")
def integer_of_a_million_digits(parts: Parts) -> None:
    parts.raw["config"] = json.dumps(parts.config).encode().replace(b"1.5", b"9" * 1_000_000)


@attack(r"config\.json: integers must fit 64 bits")
def integer_of_65_bits(parts: Parts) -> None:
    parts.config["metadata"]["steps"] = 1 << 64


@attack(r"config\.json: text must be Unicode, not '\\ud800'")
def lone_surrogate(parts: Parts) -> None:
    parts.config["provenance"]["by"] = "\ud800"


@attack(r"config\.json must be an object, not a list of 0")
def config_is_a_list(parts: Parts) -> None:
    parts.raw["config"] = b"[]"


# --- config.json as a graph ----------------------------------------------------------------------


@attack(r"config\.json: format must be one of csbrnn-packed-model, not 'onnx'")
def another_format(parts: Parts) -> None:
    parts.config["format"] = "onnx"


@attack(r"config\.json: version must be at most 4, not 5; a newer csbrnn wrote this model")
def newer_version(parts: Parts) -> None:
    parts.config["version"] = 5


@attack(r"config\.json: activation_scales is missing")
def version_2_without_scales(parts: Parts) -> None:
    parts.config["version"] = 2


@attack(r"config\.json has unknown keys: 'activation_scales'")
def version_1_with_scales(parts: Parts) -> None:
    parts.config["activation_scales"] = {}


@attack(r"activation_scales\['head/weight'\] must be a number, not True")
def scale_true(parts: Parts) -> None:
    parts.config |= {"version": 2, "activation_scales": {"head/weight": True}}


@attack(r"activation_scales: 'lstm/weight_ih_l0' is no matrix in int8 that is multiplied")
def scale_of_fp32(parts: Parts) -> None:
    parts.config |= {"version": 2, "activation_scales": {"lstm/weight_ih_l0": 1.0}}


def quantized(parts: Parts, precision: str) -> None:
    """Take the language model in another precision, its last weight dense."""
    head = language_model().layer("head")
    dense = replace(head, weight=DenseMatrix(head.weight.to_dense()))
    layers = tuple(dense if layer.name == "head" else layer for layer in language_model().layers)
    model = quantize(replace(language_model(), layers=layers), precision)
    parts.config, tensors = config_from_model(model)
    data = serialize_tensors(tensors)
    size = int.from_bytes(data[:8], "little")
    parts.header, parts.data = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])


@attack(r"activation_scales: 'head/weight' must be a number that scale_of\(\) makes, not 0\.1")
def scale_of_too_many_bits(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.config["activation_scales"] = {"head/weight": 0.1}


@attack(r"activation_scales: 'head/weight' must be a number that scale_of\(\) makes, not 0\.0")
def scale_zero(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.config["activation_scales"] = {"head/weight": 0}


@attack(r"\['weight'\]: values must lie in -127\.\.127; number 1 is -128")
def int8_without_a_mirror(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.view("head/weight/values")[1] = 0x80


@attack(r"\['weight'\]: scales must be as scale_of\(\) makes them; number 6 is not")
def int8_scale_nan(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.view("head/weight/scales")[24:28] = np.float32("nan").tobytes()


@attack(r"\['weight'\]: scales must have shape \(7,\), not \(1, 7\)")
def int8_scales_of_another_shape(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.header["head/weight/scales"]["shape"] = [1, 7]


@attack(r"\['weight'\]: array scales is missing")
def int8_scales_missing(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.header["other/scales"] = parts.header.pop("head/weight/scales")


@attack(r"\['weight'\] has unknown arrays: 'scales'")
def bf16_with_scales(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.layers[2]["parameters"]["weight"]["dtype"] = "bf16"


@attack(r"shape has 133145 columns, more than the 133144 whose sums are exact in int8")
def int8_sums_beyond_int32(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.layers[2]["parameters"]["weight"]["shape"] = [7, 133145]


@attack(r"config\.json: 'lstm/weight_ih_l0' is in int8, as of version 2")
def int8_in_version_1(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.config["version"] = 1
    del parts.config["activation_scales"]


@attack(r"array values must be int8, not uint8")
def int8_unsigned(parts: Parts) -> None:
    quantized(parts, "int8")
    parts.header["lstm/weight_ih_l0/values"]["dtype"] = "U8"


@attack(r"\['weight'\]: values must be finite; number 0 is not")
def bf16_infinite(parts: Parts) -> None:
    quantized(parts, "bf16")
    parts.view("head/weight/values")[:2] = b"\x80\x7f"


@attack(r"config\.json: 'lstm/weight_ih_l0' is in csr, as of version 3")
def csr_in_version_2(parts: Parts) -> None:
    another_matrix(parts, CSRMatrix.from_dense)
    parts.config["version"] = 2


@attack(r"config\.json: 'lstm/weight_ih_l0' is in encoding gaps, as of version 4")
def gaps_in_version_3(parts: Parts) -> None:
    another_matrix(parts, scattered_columns)
    parts.config["version"] = 3


def scattered_columns(weight: NDArray[Any]) -> CSBMatrix:
    """CSB of one block whose columns are stored as gaps."""
    matrix = CSBMatrix.from_dense(weight, weight.shape)
    return replace(matrix, col_index="gaps")


def another_matrix(parts: Parts, make: Callable[[NDArray[Any]], Matrix]) -> None:
    """Take the language model with its first recurrent matrix in another format."""
    model = map_matrices(
        language_model(),
        lambda name, m: make(m.to_dense()) if name == "lstm/weight_ih_l0" else m,
    )
    parts.config, tensors = config_from_model(model)
    data = serialize_tensors(tensors)
    size = int.from_bytes(data[:8], "little")
    parts.header, parts.data = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])


@attack(r"'weight_ih_l0'\]: a weight of row \d+ lies beyond the 5 columns")
def gaps_beyond_the_row(parts: Parts) -> None:
    another_matrix(parts, lambda w: CSRMatrix.from_dense(w, 8))
    parts.view("lstm/weight_ih_l0/gaps")[1] = 200


@attack(r"'weight_ih_l0'\]: counts of 24 rows of 3 bits must take 9 bytes, not 8")
def counts_cut_short(parts: Parts) -> None:
    another_matrix(parts, lambda w: CSRMatrix.from_dense(w, 8))
    entry = parts.header["lstm/weight_ih_l0/counts"]
    begin, end = entry["data_offsets"]
    entry |= {"shape": [end - begin - 1], "data_offsets": [begin, end - 1]}
    parts.header["lstm/weight_ih_l0/other"] = {
        "dtype": "U8",
        "shape": [1],
        "data_offsets": [end - 1, end],
    }
    parts.header["rest/rest"] = parts.header.pop("lstm/weight_ih_l0/other")


@attack(r"\.count must be an integer in 0\.\.4, not 16777216")
def banks_that_keep_more_than_they_have(parts: Parts) -> None:
    another_matrix(parts, lambda w: SparseBanksMatrix.from_dense(w, 4))
    parts.matrix["count"] = 2**24


@attack(r"'weight_ih_l0'\]: values must have shape \(24, \d\), not \(24, \d\)")
def banks_that_keep_more_than_is_stored(parts: Parts) -> None:
    another_matrix(parts, lambda w: SparseBanksMatrix.from_dense(w * (w > 1), 4))
    parts.matrix["count"] += 1


@attack(r"'weight_ih_l0'\]: a matrix must have at most 4194304 blocks")
def blocks_beyond_the_cap(parts: Parts) -> None:
    another_matrix(parts, lambda w: BSRMatrix.from_dense(w, (4, 4)))
    parts.matrix.update(block=[1, 1], shape=[2**15, 2**15])


@attack(r"\.block must be an integer in 1\.\.4096, not 16777216")
def a_circulant_block_beyond_the_cap(parts: Parts) -> None:
    another_matrix(parts, lambda w: CirculantMatrix.from_dense(np.ones_like(w), 2))
    parts.matrix["block"] = 2**24


@attack(r"'weight_ih_l0'\]: values must have shape \(24576,\), not \(72,\)")
def a_circulant_block_larger_than_stored(parts: Parts) -> None:
    another_matrix(parts, lambda w: CirculantMatrix.from_dense(np.ones_like(w), 2))
    parts.matrix.update(block=4096, shape=[24576, 5])


@attack(r"config\.json: version must be an integer in 1\.\.\d+, not True")
def version_true(parts: Parts) -> None:
    parts.config["version"] = True


@attack(r"config\.json has unknown keys: 'quantization'")
def unknown_key(parts: Parts) -> None:
    parts.config["quantization"] = "int8"


@attack(r"layers\[1\]\.stack has unknown keys: 'dropout'")
def unknown_stack_key(parts: Parts) -> None:
    parts.stack["dropout"] = 0.5


@attack(r"layers\[0\]\.kind must be one of embedding, .*, not 'convolution'")
def unknown_layer(parts: Parts) -> None:
    parts.layers[0]["kind"] = "convolution"


@attack(r"layers must hold at most 256, not 1024")
def too_many_layers(parts: Parts) -> None:
    parts.config["layers"] = parts.layers * 256


@attack(r"tensors that no layer has")
def no_layers(parts: Parts) -> None:
    parts.config["layers"] = []


@attack(r"stack\.hidden_size must be an integer in 1\.\.16777216, not -6")
def negative_size(parts: Parts) -> None:
    parts.stack["hidden_size"] = -6


@attack(r"stack\.hidden_size must be an integer in 1\.\.16777216, not 6\.0")
def fractional_size(parts: Parts) -> None:
    parts.stack["hidden_size"] = 6.0


@attack(r"weight_ih_l0 must have shape \(28, 5\), not \(24, 5\)(.|\n)*weight_hh_l0 must have shape")
def another_hidden_size(parts: Parts) -> None:
    parts.stack["hidden_size"] = 7


@attack(r"stack\.num_layers must be an integer in 1\.\.64, not 1000000000")
def stack_of_a_billion(parts: Parts) -> None:
    parts.stack["num_layers"] = 10**9


@attack(r"stack: stack of 'lstm': proj_size must be 0")
def projection_without_projection(parts: Parts) -> None:
    parts.stack["proj_size"] = 3


@attack(r"stack: cell 'lstm': equations must be at most \d+ characters")
def equations_too_long(parts: Parts) -> None:
    parts.stack["cell"]["equations"] *= 100


@attack(r"stack: cell 'lstm', line \d")
def equations_nested(parts: Parts) -> None:
    parts.stack["cell"]["equations"] += "\n h_next = " + "(" * 3000 + "h" + ")" * 3000


@attack(r"stack: cell 'lstm', line \d")
def equations_negated(parts: Parts) -> None:
    parts.stack["cell"]["equations"] = "h_next = " + "-" * 7000 + "h"


@attack(r"stack: cell 'lstm', line \d")
def equations_of_attributes(parts: Parts) -> None:
    parts.stack["cell"]["equations"] = "h_next = h" + ".a" * 3000


@attack(r"stack: cell 'lstm', line \d")
def equations_that_run_code(parts: Parts) -> None:
    parts.stack["cell"]["equations"] = "h_next = __import__('os').system('true')"


@attack(r"a step must compute at most 16777216 values")
def state_without_weights(parts: Parts) -> None:
    """Gigabytes of state from a cell that has no parameters at all."""
    cell = {"name": "none", "states": {"h": "hidden"}, "parameters": []}
    cell |= {"equations": "h_next = h * 0.5", "output": "h"}
    stack = {"cell": cell, "input_size": 3, "hidden_size": 1 << 24, "proj_size": 0}
    stack |= {"num_layers": 64, "bidirectional": True}
    layer = {"kind": "recurrent", "name": "r", "inputs": ["input"], "stack": stack}
    parts.config["layers"] = [layer | {"parameters": {}}]
    parts.config |= {"output": "r", "input": {"kind": "features", "size": 3}, "metadata": {}}
    parts.header, parts.data = {}, bytearray()


@attack(r"a step must compute at most 16777216 values, not 2147")
def doubling(parts: Parts) -> None:
    """Each layer concatenates the one before with itself."""
    names = ["input", *(f"l{i}" for i in range(30))]
    parts.config["layers"] = [
        {"kind": "combine", "name": new, "inputs": [old, old], "function": "concatenate"}
        for old, new in pairwise(names)
    ]
    parts.config |= {"output": "l29", "input": {"kind": "features", "size": 1}, "metadata": {}}
    parts.header, parts.data = {}, bytearray()


@attack(r"layer 'lstm': reads 'head', which is neither an earlier layer nor 'input'")
def cycle(parts: Parts) -> None:
    parts.layers[1]["inputs"] = ["head"]


@attack(r"layer 'embedding': the name is taken by a layer")
def one_name_for_two(parts: Parts) -> None:
    parts.layers.append(_activation("embedding", "head"))


@attack(r"layer 'input': the name is taken by the model")
def layer_named_input(parts: Parts) -> None:
    parts.layers.append(_activation("input", "head"))


@attack(r"layers\[0\]\.name must match .*, not '\.\./\.\./etc/passwd'")
def layer_named_as_a_path(parts: Parts) -> None:
    parts.layers[0]["name"] = "../../etc/passwd"


@attack(r"output must be the name of a layer, not 'nothing'")
def output_of_nothing(parts: Parts) -> None:
    parts.config["output"] = "nothing"


@attack(r"layer 'embedding': must read tokens of a vocabulary of 7, not 7 features")
def embedding_of_features(parts: Parts) -> None:
    parts.config["input"] = {"kind": "features", "size": 7}


@attack(r"metadata: vocabulary must list 7 texts, not 6")
def short_vocabulary(parts: Parts) -> None:
    parts.config["metadata"]["vocabulary"].pop()


@attack(r"metadata: vocabulary must be a list of strings")
def vocabulary_of_numbers(parts: Parts) -> None:
    parts.config["metadata"]["vocabulary"] = list(range(7))


def _activation(name: str, source: str) -> dict[str, Any]:
    return {"kind": "activation", "name": name, "inputs": [source], "function": "relu"}


# --- weights -------------------------------------------------------------------------------------


@attack(
    r"config\.json: layers\[1\]\.parameters\['weight_ih_l0'\]\.format must be one of dense, csb"
)
def unknown_matrix_format(parts: Parts) -> None:
    parts.matrix["format"] = "coo"


@attack(r"parameters\['weight_ih_l0'\]: .*must take")
def other_blocks(parts: Parts) -> None:
    parts.matrix["block"] = [8, 2]


@attack(r"layers\[1\]\.parameters\['weight_ih_l0'\]\.shape must have at most")
def matrix_of_terabytes(parts: Parts) -> None:
    parts.matrix["shape"] = [1 << 24, 1 << 24]


@attack(r"layer 'lstm': lacks weight_ih_l0")
def missing_parameter(parts: Parts) -> None:
    """A file that holds together, but lacks a matrix."""
    del parts.layers[1]["parameters"]["weight_ih_l0"]
    for array in ("rows", "cols", "values"):
        _remove(parts, f"lstm/weight_ih_l0/{array}")


@attack(r"tensors that no layer has: 'lstm/weight_zz_l0'")
def stray_tensor(parts: Parts) -> None:
    size = len(parts.data)
    parts.header["lstm/weight_zz_l0"] = {"dtype": "U8", "shape": [4], "data_offsets": [size] * 2}
    parts.header["lstm/weight_zz_l0"]["data_offsets"][1] += 4
    parts.data += bytes(4)


@attack(r"has an unknown parameter 'weight_zz_l0'")
def stray_parameter(parts: Parts) -> None:
    parameters = parts.layers[1]["parameters"]
    parameters["weight_zz_l0"] = parameters.pop("weight_ih_l0")
    for array in ("rows", "cols", "values"):
        parts.header[f"lstm/weight_zz_l0/{array}"] = parts.header.pop(f"lstm/weight_ih_l0/{array}")


@attack(
    r"parameters\['bias_ih_l0'\] must be float32 of shape \(23,\), not float32 of shape \(24,\)"
)
def short_bias(parts: Parts) -> None:
    parts.layers[1]["parameters"]["bias_ih_l0"]["shape"] = [23]


@attack(r"weight_ih_l0.*values must be finite; number 0 is not")
def weight_not_a_number(parts: Parts) -> None:
    parts.view("lstm/weight_ih_l0/values")[:4] = np.float32("nan").tobytes()


@attack(r"layer 'lstm': bias_ih_l0 must be finite")
def infinite_bias(parts: Parts) -> None:
    parts.view("lstm/bias_ih_l0")[:4] = np.float32("-inf").tobytes()


@attack(r"weight_ih_l0'\]: array values must be float32, not uint8")
def values_are_bytes(parts: Parts) -> None:
    entry = parts.header["lstm/weight_ih_l0/values"]
    entry |= {"dtype": "U8", "shape": [4 * entry["shape"][0]]}


# --- model.safetensors ---------------------------------------------------------------------------


@attack(r"model\.safetensors: the header must have at most")
def empty_tensor_file(parts: Parts) -> None:
    parts.raw["tensors"] = b""


@attack(r"model\.safetensors: the header must have at most")
def header_size_only(parts: Parts) -> None:
    parts.raw["tensors"] = b"\x02\0\0\0\0\0\0"


@attack(r"model\.safetensors: the header must have at most .* it says 18446744073709551615")
def header_of_exabytes(parts: Parts) -> None:
    parts.raw["size"] = b"\xff" * 8


@attack(r"model\.safetensors: the header must have at most 4194304 bytes")
def header_too_large(parts: Parts) -> None:
    parts.raw["header"] = json.dumps(parts.header).encode() + b" " * (4 << 20)


@attack(r"model\.safetensors: must nest at most 32 deep")
def nested_header(parts: Parts) -> None:
    parts.raw["header"] = b'{"a":' * 100_000


@attack(r"model\.safetensors: key 'lstm/bias_ih_l0' appears twice")
def duplicate_tensor(parts: Parts) -> None:
    entry = json.dumps(parts.header["lstm/bias_ih_l0"])
    parts.raw["header"] = f'{json.dumps(parts.header)[:-1]}, "lstm/bias_ih_l0": {entry}}}'.encode()


@attack(r"tensor '__metadata__'\.dtype is missing")
def metadata_in_tensor_file(parts: Parts) -> None:
    parts.header["__metadata__"] = {"format": "pt"}


@attack(r"tensor '.*' must begin where the one before ends, at 28, not 0")
def overlapping_tensors(parts: Parts) -> None:
    parts.header["head/bias"]["data_offsets"] = [0, 28]


@attack(r"must begin where the one before ends")
def hole(parts: Parts) -> None:
    for entry in parts.header.values():
        entry["data_offsets"] = [offset + 8 for offset in entry["data_offsets"]]
    parts.data[:0] = bytes(8)


@attack(r"8 bytes belong to no tensor")
def trailing_bytes(parts: Parts) -> None:
    parts.data += bytes(8)


@attack(r"data_offsets\[1\] must be an integer in 0\.\.\d+, not \d+")
def truncated_data(parts: Parts) -> None:
    del parts.data[-1:]


@attack(r"tensor 'head/bias'\.data_offsets\[0\] must be an integer in 0\.\.\d+, not -28")
def negative_offset(parts: Parts) -> None:
    parts.header["head/bias"]["data_offsets"] = [-28, 0]


@attack(r"tensor 'head/bias': 7 values of 4 bytes must take 28, not 28 to 0")
def reversed_offsets(parts: Parts) -> None:
    parts.header["head/bias"]["data_offsets"] = [28, 0]


@attack(r"tensor 'head/bias'\.shape\[0\] must be an integer in 0\.\.\d+, not True")
def boolean_shape(parts: Parts) -> None:
    parts.header["head/bias"]["shape"] = [True]


@attack(r"tensor 'head/bias': \d+ values of 4 bytes must take")
def shape_that_overflows(parts: Parts) -> None:
    parts.header["head/bias"]["shape"] = [1 << 32, 1 << 32]


@attack(r"tensor 'head/bias'\.shape must hold at most 2, not 3")
def three_dimensions(parts: Parts) -> None:
    parts.header["head/bias"]["shape"] = [7, 1, 1]


@attack(r"tensor 'head/bias'\.dtype must be one of F32, BF16, I16, I8, U8, not 'F64'")
def unknown_dtype(parts: Parts) -> None:
    parts.header["head/bias"]["dtype"] = "F64"


@attack(r"tensor 'head/bias' must begin at a multiple of 4 bytes")
def unaligned(parts: Parts) -> None:
    for entry in parts.header.values():
        entry["data_offsets"] = [offset + 1 for offset in entry["data_offsets"]]
    parts.header = {"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}} | {
        "head/bias": parts.header.pop("head/bias")
    }


def _remove(parts: Parts, tensor: str) -> None:
    begin, end = parts.header.pop(tensor)["data_offsets"]
    del parts.data[begin:end]
    for entry in parts.header.values():
        if entry["data_offsets"][0] >= end:
            entry["data_offsets"] = [offset - (end - begin) for offset in entry["data_offsets"]]


# --- the directory -------------------------------------------------------------------------------

DIRECTORY_ATTACKS: dict[str, tuple[str, Callable[[Path], None]]] = {}


def _link(name: str) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        os.rename(directory / name, directory / "elsewhere")
        os.symlink("elsewhere", directory / name)

    return apply


def _pipe(name: str) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        (directory / name).unlink()
        os.mkfifo(directory / name)

    return apply


def _folder(name: str) -> Callable[[Path], None]:
    def apply(directory: Path) -> None:
        (directory / name).unlink()
        (directory / name).mkdir()

    return apply


for _name in ("config.json", "model.safetensors"):
    DIRECTORY_ATTACKS |= {
        f"{_name} is a link": (f"{_name}: must be a file, not a link", _link(_name)),
        f"{_name} is a pipe": (f"{_name}: must be a regular file", _pipe(_name)),
        f"{_name} is a folder": (f"{_name}: (must be a regular file)", _folder(_name)),
        f"{_name} is missing": (
            f"{_name}: can't be opened: No such file",
            lambda directory, name=_name: (directory / name).unlink(),
        ),
    }
