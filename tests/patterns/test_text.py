import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import csbrnn
from csbrnn.errors import ArgumentError
from csbrnn.patterns import CSB, PATTERNS, Unstructured, parse_pattern, pattern_from_dict


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("unstructured", Unstructured()),
        ("unstructured()", Unstructured()),
        ("csb", CSB()),
        ("csb(block=16x64,row_group=16)", CSB((16, 64), row_group=16)),
        (" csb( block = 16x64 , row_group = 16 ) ", CSB((16, 64), row_group=16)),
        ("csb(block=16xall,row_group=16)", CSB((16, None), row_group=16)),
        ("csb(block=allxall)", CSB((None, None))),
    ],
)
def test_texts_that_read(text, pattern):
    assert parse_pattern(text) == pattern


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must read like"),
        ("csb(", "must read like"),
        ("csb)block=1x1(", "must read like"),
        ("checkers", "one of bank_balanced, .*, unstructured, not 'checkers'"),
        ("csb(16x64)", "must read key=value, not '16x64'"),
        ("csb(block=)", "must read key=value"),
        ("csb(tile=16x64)", "has the fields block, row_group, and no 'tile'"),
        ("unstructured(block=16x64)", "has no fields, and no 'block'"),
        ("csb(row_group=2,row_group=4)", "'row_group' is given twice"),
        ("csb(block=16)", "block must be two sizes"),
        ("csb(block=16x0)", "block must be two sizes"),
        ("csb(block=1x2x3)", "block must be two sizes"),
        ("csb(row_group=-2)", "row_group must be a positive integer, not -2"),
        ("csb(row_group=true)", "row_group must be a positive integer, not True"),
        ("csb(row_group=name=csb)", "row_group must be a positive integer"),
        ("csb(name=unstructured)", "'name' is given twice"),
    ],
)
def test_texts_that_do_not(text, message):
    with pytest.raises(ArgumentError, match=message):
        parse_pattern(text)


def test_plain_data_is_what_json_and_toml_carry():
    assert CSB((16, None), row_group=16).to_dict() == {
        "name": "csb",
        "block": [16, "all"],
        "row_group": 16,
    }
    with pytest.raises(ArgumentError, match="not None"):
        pattern_from_dict({"block": [1, 1]})


def test_a_pattern_is_one_file_in_the_package(tmp_path):
    """What docs/adding-a-pattern.md shows, put into a copy of the library, is known by its name."""
    page = Path(__file__).parents[2] / "docs" / "adding-a-pattern.md"
    code = page.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    shutil.copytree(
        Path(csbrnn.__file__).parent,
        tmp_path / "csbrnn",
        ignore=shutil.ignore_patterns("__pycache__", "c", "accelerator", "tests"),
    )
    (tmp_path / "csbrnn" / "patterns" / "even_rows.py").write_text(code, encoding="utf-8")
    script = (
        "from csbrnn.patterns import PATTERNS, parse_pattern\n"
        "print(parse_pattern('even_rows(run=2)'), PATTERNS['even_rows'].hardware_friendly)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == "even_rows(run=2) False\n"


def test_names_of_patterns_are_their_own():
    for name, pattern in PATTERNS.items():
        assert pattern.name == name
        assert pattern.__module__.startswith("csbrnn.patterns.")
