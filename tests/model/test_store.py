import errno
import os
import stat
from dataclasses import replace

import numpy as np
import pytest

from csbrnn.errors import ArgumentError, FormatError, UnsupportedModelError
from csbrnn.model import Features, PackedModel, load, run_reference, save, store

from .models import MODELS, elman_model, language_model


def same(a: PackedModel, b: PackedModel) -> None:
    assert (a.input, a.output) == (b.input, b.output)
    assert (a.metadata, a.provenance) == (b.metadata, b.provenance)
    assert a.activation_scales == b.activation_scales
    for left, right in zip(a.layers, b.layers, strict=True):
        assert (type(left), left.name, left.inputs) == (type(right), right.name, right.inputs)
        assert getattr(left, "function", None) == getattr(right, "function", None)
        assert getattr(left, "stack", None) == getattr(right, "stack", None)
        assert left.matrices.keys() == right.matrices.keys()
        for name, matrix in left.matrices.items():
            assert matrix.header() == right.matrices[name].header()
            assert matrix.arrays().keys() == right.matrices[name].arrays().keys()
            for array, values in matrix.arrays().items():
                np.testing.assert_array_equal(values, right.matrices[name].arrays()[array])
        assert left.vectors.keys() == right.vectors.keys()
        for name, vector in left.vectors.items():
            np.testing.assert_array_equal(vector, right.vectors[name])


@pytest.mark.parametrize("in_place", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_round_trip(tmp_path, name, in_place):
    model = MODELS[name]()
    save(model, tmp_path / "model")
    same(model, load(tmp_path / "model", in_place=in_place))


@pytest.mark.parametrize("name", MODELS)
def test_equal_models_have_equal_bytes(tmp_path, name):
    save(MODELS[name](), tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_nothing_but_the_two_files_is_left(tmp_path):
    save(language_model(), tmp_path / "model")
    save(language_model(), str(tmp_path / "model"))
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]
    assert sorted(os.listdir(tmp_path / "model")) == ["config.json", "model.safetensors"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o777 & ~umask


def test_a_loaded_model_survives_being_saved_over(tmp_path):
    save(language_model(), tmp_path / "model")
    loaded = load(tmp_path / "model")
    before, _ = run_reference(loaded, np.array([1, 2]))
    save(elman_model(), tmp_path / "model")
    after, _ = run_reference(loaded, np.array([1, 2]))
    np.testing.assert_array_equal(before, after)
    same(load(tmp_path / "model"), elman_model())
    save(loaded, tmp_path / "model")
    same(load(tmp_path / "model"), language_model())


def test_an_empty_directory_and_a_link_to_one_are_filled(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    save(language_model(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    same(load(tmp_path / "real"), load(tmp_path / "link"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"thesis.tex": "x"}, "holds 'thesis.tex', which is no part of a packed model"),
        ({"config.json": "{}"}, r"config\.json: is not of a packed model"),
        ({"config.json": "nonsense"}, r"config\.json: must be JSON"),
        ({"model.safetensors": ""}, r"config\.json: can't be opened"),
    ],
)
def test_other_directories_are_not_overwritten(tmp_path, files, message):
    target = tmp_path / "precious"
    target.mkdir()
    for name, content in files.items():
        (target / name).write_text(content)
    with pytest.raises(FormatError, match=message):
        save(language_model(), target)
    assert {path.name: path.read_text() for path in target.iterdir()} == files
    assert os.listdir(tmp_path) == ["precious"]


def test_a_file_is_not_overwritten(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(FormatError, match="must be a directory, or not exist"):
        save(language_model(), tmp_path / "file")


def failing_rename(failures):
    """Renames, but fails at the calls whose numbers are given."""
    rename, calls = os.rename, iter(range(10))

    def fail(source, target):
        if next(calls) in failures:
            raise OSError("the disk is on fire")
        rename(source, target)

    return fail


@pytest.mark.parametrize("failures", [{0, 1}, {0, 2}, {2}])
def test_a_failed_rename_leaves_the_old_model(tmp_path, monkeypatch, failures):
    save(elman_model(), tmp_path / "model")
    monkeypatch.setattr(os, "rename", failing_rename(failures))
    with pytest.raises(OSError, match="on fire"):
        save(language_model(), tmp_path / "model")
    same(load(tmp_path / "model"), elman_model())
    assert os.listdir(tmp_path) == ["model"]


def test_a_failed_write_leaves_the_old_model(tmp_path, monkeypatch):
    save(elman_model(), tmp_path / "model")
    monkeypatch.setattr(store, "serialize_tensors", lambda _: b"half a fi")
    with pytest.raises(FormatError, match="the header must have at most"):
        save(language_model(), tmp_path / "model")
    same(load(tmp_path / "model"), elman_model())
    assert os.listdir(tmp_path) == ["model"]


def test_what_cannot_be_saved_touches_nothing(tmp_path):
    with pytest.raises(UnsupportedModelError, match="must read tokens"):
        save(replace(language_model(), input=Features(7)), tmp_path / "model")
    with pytest.raises(FormatError, match=r"config\.json: can't be written as JSON: float32"):
        save(replace(elman_model(), metadata={"loss": np.float32(1)}), tmp_path / "model")
    with pytest.raises(FormatError, match="metadata or provenance must be shorter"):
        save(replace(elman_model(), metadata={"log": "x" * (5 << 20)}), tmp_path / "model")
    with pytest.raises(FileNotFoundError):
        save(elman_model(), tmp_path / "no" / "model")
    assert not os.listdir(tmp_path)


def test_what_is_no_packed_model_is_not_saved(tmp_path):
    with pytest.raises(ArgumentError, match="save takes a PackedModel, not str"):
        save("model", tmp_path / "model")


def test_what_can_not_be_renamed_says_why(tmp_path, monkeypatch):
    rename = os.rename

    def refuse(source, target):
        if str(source).endswith(".new"):
            raise PermissionError(errno.EACCES, "Permission denied", str(target))
        rename(source, target)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(PermissionError, match="Permission denied"):
        save(language_model(), tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
