import os

import numpy as np
import pytest
import safetensors.numpy

from csbrnn.errors import FormatError
from csbrnn.model.tensors import open_regular, read_tensors, serialize_tensors

TENSORS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a/values": np.arange(5, dtype=np.uint8),
    "empty": np.zeros((0, 3), np.float32),
    "nothing": np.zeros(0, np.uint8),
    "z": np.array([1.5], np.float32),
}


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("tensors", [TENSORS, {}, {"empty": TENSORS["empty"]}])
def test_reads_what_the_safetensors_package_writes(tmp_path, tensors, in_place):
    path = tmp_path / "t.safetensors"
    path.write_bytes(safetensors.numpy.save(tensors))
    got = read_tensors(path, in_place=in_place)
    assert got.keys() == tensors.keys() == safetensors.numpy.load_file(path).keys()
    for name, values in tensors.items():
        np.testing.assert_array_equal(got[name], values)
        assert got[name].dtype == values.dtype
        assert not values.size or not got[name].flags.writeable


@pytest.mark.parametrize("tensors", [TENSORS, {}, {"b": TENSORS["b"], "a": np.zeros(3, np.int8)}])
def test_writes_what_the_safetensors_package_writes(tensors):
    assert serialize_tensors(tensors) == safetensors.numpy.save(tensors)


def test_other_tools_read_bf16():
    torch = pytest.importorskip("torch")
    from safetensors.torch import load

    got = load(serialize_tensors({"w": np.array([[0x3F80, 0xC000]], np.uint16)}))["w"]
    assert got.dtype == torch.bfloat16
    assert got.tolist() == [[1.0, -2.0]]


def test_descriptors_are_closed(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(FormatError, match="must be a regular file"), open_regular(tmp_path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "t").touch()
    with pytest.raises(FormatError, match="the header must have at most"):
        read_tensors(tmp_path / "t")
