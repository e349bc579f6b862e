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


def test_a_cache_that_is_no_directory_is_refused(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    folder = kept_program(ARCH, "cxxrtl").parent
    with (
        pytest.raises(
            ArgumentError, match=r"must be a directory .*XDG_CACHE_HOME.*Not a directory"
        ),
        fresh_folder(folder),
    ):
        pass
