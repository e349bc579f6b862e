from dataclasses import replace

import pytest

from csbrnn.accelerator import PRESETS, load_arch
from csbrnn.errors import ArgumentError, UnsupportedModelError

from .models import ARCH


@pytest.mark.parametrize(
    ("name", "pes"), [("pe16", 16), ("pe64", 64), ("pe256", 256), ("pe512", 512)]
)
def test_presets(name, pes):
    arch = load_arch(name)
    assert (arch.name, arch.pes) == (name, pes)
    assert name in PRESETS


def test_derived_sizes():
    arch = load_arch("pe256")
    assert (arch.banks, arch.cadence, arch.levels) == (16, 4, 4)
    assert (arch.x_addr_bits, arch.y_addr_bits, arch.dump_row) == (13, 10, 1023)
    assert (arch.word_bits, arch.strip_bits) == (48, 20)


def test_a_file_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    lines = ["name = 'mine'", "[engine]", "groups = 2", "streams = 3", "lanes = 1", "x_write = 2"]
    lines += [
        "[memory]",
        "words = 10",
        "strips = 10",
        "x = 8",
        "y = 9",
        "vector = 20",
        "program = 30",
    ]
    path.write_text("\n".join(lines))
    arch = load_arch(path)
    assert (arch.name, arch.pes, arch.weight_bits, arch.queue) == ("mine", 6, 16, 4)


def test_all_that_is_wrong_with_a_file(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        "[engine]\ngroups = 2.5\nstreams = true\nwheels = 3\n[memory]\n[extra]\na = 1\n"
    )
    with pytest.raises(ArgumentError) as error:
        load_arch(path)
    text = str(error.value)
    for part in (
        "engine.groups must be a whole number, not 2.5",
        "engine.streams must be a whole number, not True",
        "engine.lanes is missing",
        "memory.words is missing",
        "engine.wheels is not known",
        "extra.a is not known",
    ):
        assert part in text


def test_not_a_file(tmp_path):
    with pytest.raises(ArgumentError, match="one of pe16, pe64, pe256, pe512 or a TOML file"):
        load_arch("pe17")
    (tmp_path / "x.toml").write_text("= 3")
    with pytest.raises(ArgumentError, match="is no TOML"):
        load_arch(tmp_path / "x.toml")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lanes": 3}, "engine.lanes must be a power of two, not 3"),
        ({"x_write": 4, "groups": 6}, "4 does not divide 6"),
        ({"x": 511}, "memory.x must be a multiple of engine.x_write; 511 is none of 2"),
        ({"acc_bits": 30}, r"at least weight_bits \+ 16 = 32, to hold one product, not 30"),
        ({"segments": 100}, "numbers.segments must be a power of two"),
        ({"words": 0}, r"memory.words must lie in 2..1048576, not 0"),
        ({"y": 5000}, "memory.y must lie in 2..4096"),
    ],
)
def test_sizes_that_can_t_be_built(change, reason):
    with pytest.raises(UnsupportedModelError, match=reason):
        replace(ARCH, **change)
