"""docs/spec/format.md says what the code does."""

import re
from pathlib import Path

import numpy as np
import pytest

from csbrnn.formats import ENCODINGS, FORMATS, MAX_BLOCKS, MAX_DIMENSION, MAX_WEIGHTS, CSBMatrix
from csbrnn.formats.circulant import MAX_CIRCULANT
from csbrnn.formats.csr import MAX_GAP_BITS
from csbrnn.model import LAYERS, Activation, Combine, Features, Linear, PackedModel, load, save
from csbrnn.model.config import FORMAT_VERSION, MAX_INPUTS
from csbrnn.model.graph import MAX_LAYERS, MAX_STEP_VALUES, NAME
from csbrnn.model.layers import MAX_STACK
from csbrnn.model.store import MAX_CONFIG_NBYTES
from csbrnn.model.strict_json import MAX_DEPTH
from csbrnn.model.tensors import MAX_HEADER_NBYTES
from csbrnn.numerics import MAX_COLUMNS, MAX_SCALE, MIN_SCALE, PRECISIONS

SPEC = (Path(__file__).parents[2] / "docs" / "spec" / "format.md").read_text()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?\n)```", SPEC, re.DOTALL)
    assert found
    return found.group(1)


@pytest.fixture
def example(tmp_path):
    (tmp_path / "config.json").write_text(block("json"))
    tensors = "".join(line[8:55] for line in block("hexdump").splitlines())
    (tmp_path / "model.safetensors").write_bytes(bytes.fromhex(tensors))
    return tmp_path


def test_the_example_reads_as_described(example):
    weight = np.zeros((6, 20), np.float32)
    weight[2, 3], weight[2, 17], weight[3, 17], weight[4, 1], weight[5, 1] = 1, 3, 2, -1, 0.5
    matrix = load(example).layer("y").matrices["weight"]
    assert isinstance(matrix, CSBMatrix)
    np.testing.assert_array_equal(matrix.to_dense(), weight)
    assert (matrix.kept, matrix.index_bits) == (6, 40)
    assert matrix.rows.tolist() == [2, 3, 4, 5]
    assert matrix.cols.tolist() == [3, 17, 1]


def test_the_example_is_what_is_written(example, tmp_path):
    weight = np.zeros((6, 20), np.float32)
    weight[2, 3], weight[2, 17], weight[3, 17], weight[4, 1], weight[5, 1] = 1, 3, 2, -1, 0.5
    matrix = CSBMatrix.from_dense(weight, (4, 20), 2)
    bias = np.array([0, 0, 0, 0, 0, 1], np.float32)
    model = PackedModel(
        (Linear("y", ("input",), matrix, bias),),
        Features(20),
        "y",
        provenance={"csbrnn": "0.1.0"},
    )
    save(model, tmp_path / "written")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "written" / file).read_bytes() == (example / file).read_bytes()


def test_the_limits_are_the_code_s():
    limits = SPEC.partition("\n## Limits")[2]
    rows = dict(re.findall(r"^\| (.*?) \| ([0-9^]+(?: MiB each)?) \|$", limits, re.MULTILINE))
    assert list(rows.values()) == [
        "4 MiB each",
        "2^24",
        "2^22",
        "4096",
        "133144",
        "2^30",
        "2^24",
        "256",
        "64",
    ]
    assert MAX_CONFIG_NBYTES == MAX_HEADER_NBYTES == 4 << 20
    assert MAX_DIMENSION == MAX_STEP_VALUES == 1 << 24
    assert MAX_BLOCKS == 1 << 22
    assert MAX_CIRCULANT == 4096
    assert f"w from 1\nto {MAX_GAP_BITS}" in SPEC
    assert MAX_COLUMNS == 133144
    assert MIN_SCALE == 2.0**-125
    assert float.fromhex("0x1.0204p121") == MAX_SCALE
    assert MAX_WEIGHTS == 1 << 30
    assert (MAX_LAYERS, MAX_STACK, MAX_INPUTS) == (256, 64, 64)
    assert f"nesting of at most\n{MAX_DEPTH}," in SPEC
    assert f"`{NAME.pattern}`" in SPEC


def test_nothing_is_left_out():
    assert [name for name in PRECISIONS if f'"{name}"' not in SPEC] == []
    assert f"versions 1 to {FORMAT_VERSION}" in SPEC
    names = [*LAYERS, *FORMATS, *ENCODINGS, *Activation.FUNCTIONS, *Combine.FUNCTIONS]
    assert [name for name in names if f"`{name}`" not in SPEC] == []
