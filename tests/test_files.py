"""Users' files are replaced whole, and errors name them."""

import json
import os
import threading

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.files import load_json, load_toml, make_directory, replace_file, write_json, write_text


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1, None, "ü"]})
    assert load_json(tmp_path / "a.json") == {"a": [1, None, "ü"]}
    assert os.listdir(tmp_path) == ["a.json"]


def test_numbers_that_json_does_not_have_leave_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert load_json(tmp_path / "a.json") == {"a": 1}


def test_a_write_that_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a"
    write_text(path, "old")

    def stop(file):
        file.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(path, stop)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_links_stay_links_and_pipes_pipes(tmp_path):
    write_text(tmp_path / "file", "old")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"

    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_json(tmp_path / "pipe", 3)
    reader.join()
    assert json.loads(read[0]) == 3
    assert (tmp_path / "pipe").is_fifo()


def test_toml(tmp_path):
    (tmp_path / "a.toml").write_text("[a]\nb = 1e-2")
    assert load_toml(tmp_path / "a.toml") == {"a": {"b": 0.01}}


@pytest.mark.parametrize(("load", "kind"), [(load_toml, "TOML"), (load_json, "JSON")])
@pytest.mark.parametrize("content", [b"\xff", b"a = [", b"[" * 100_000])
def test_other_files_are_refused(tmp_path, load, kind, content):
    (tmp_path / "b").write_bytes(content)
    with pytest.raises(ArgumentError, match=rf"b: is no {kind}: "):
        load(tmp_path / "b")


@pytest.mark.parametrize("load", [load_toml, load_json])
def test_files_that_are_not_there_and_directories(tmp_path, load):
    with pytest.raises(ArgumentError, match=r"c: can't be read: No such file"):
        load(tmp_path / "c")
    with pytest.raises(ArgumentError, match=rf"^{tmp_path}: can't be read: Is a directory"):
        load(tmp_path)


def test_what_can_not_be_made_or_written(tmp_path):
    write_text(tmp_path / "file", "")
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    with pytest.raises(ArgumentError, match=r"file/a: can't be made a directory: Not a directory"):
        make_directory(tmp_path / "file" / "a")
    with pytest.raises(ArgumentError, match=r"file: can't be made a directory: File exists"):
        make_directory(tmp_path / "file")
    with pytest.raises(ArgumentError, match=r"nowhere/a: can't be written: No such file"):
        write_text(tmp_path / "nowhere" / "a", "")
