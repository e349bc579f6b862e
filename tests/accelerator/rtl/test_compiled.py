"""Simulation programs that are kept: one of another engine is never taken for this one's."""

from dataclasses import replace

import pytest

from csbrnn.numerics import TanhTable, tanh_table

from .random_image import ARCHS

pytest.importorskip("amaranth")

from csbrnn.accelerator.rtl import activation
from csbrnn.accelerator.rtl.compiled import fresh_folder, kept_program
from csbrnn.errors import ArgumentError

ARCH = ARCHS["1x1x1"]


def test_engines_of_any_name_share_a_program_and_other_sizes_have_their_own():
    path = kept_program(ARCH, "cxxrtl")
    assert kept_program(replace(ARCH, name="another"), "cxxrtl") == path
    assert kept_program(replace(ARCH, segments=32), "cxxrtl") != path
    assert kept_program(ARCH, "verilator") != path


def test_a_changed_table_of_tanh_is_another_program(monkeypatch):
    def changed(segments):
        base, slope = tanh_table(segments)
        return TanhTable(base ^ 1, slope)

    path = kept_program(ARCH, "cxxrtl")
    monkeypatch.setattr(activation, "tanh_table", changed)
    assert kept_program(replace(ARCH, name="changed"), "cxxrtl") != path


def test_a_relative_cache_folder_is_ignored_as_its_specification_says(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    usual = kept_program(ARCH, "cxxrtl")
    assert usual.is_absolute()
    for ignored in ("", "cache", "./cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", ignored)
        assert kept_program(ARCH, "cxxrtl") == usual
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert kept_program(ARCH, "cxxrtl").is_relative_to(tmp_path)


@pytest.mark.parametrize("there", ["folder", "program"])
def test_a_program_takes_its_place_whatever_is_left_or_was_built_meanwhile(there, tmp_path):
    program = tmp_path / "csbrnn" / "cxxrtl-0" / "simulation"
    with fresh_folder(program) as folder:
        (folder / "simulation").write_text("mine")
        (folder / "sim.cc").write_text("")
        program.parent.mkdir(parents=True, exist_ok=True)
        (program.parent / "left").write_text("")
        if there == "program":
            program.write_text("another's")
    assert program.read_text() == "mine"
    assert {path.name for path in program.parent.iterdir()} == {"simulation", "left"}


def test_a_cache_that_is_no_directory_is_refused(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    program = kept_program(ARCH, "cxxrtl")
    with (
        pytest.raises(
            ArgumentError, match=r"must be a directory .*XDG_CACHE_HOME.*Not a directory"
        ),
        fresh_folder(program),
    ):
        pass
