"""docs/search.md works as printed."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from csbrnn.explore.recipe import read_recipe as read_space
from csbrnn.files import load_toml
from csbrnn.search.recipe import read_recipe

PAGE = (Path(__file__).parents[2] / "docs" / "search.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_recipes_read(tmp_path):
    search, space = blocks("toml")
    (tmp_path / "search.toml").write_text(search)
    (tmp_path / "space.toml").write_text(space)
    assert read_recipe(tmp_path / "search.toml").ladder.max_rate == 64
    read = read_space(tmp_path / "space.toml")
    assert len(read.space.configurations) > 100
    assert read.space.left_out
    # What is commented out reads as well.
    optional = re.sub(r"^# (tolerance|warm_start|prune_early|stages|arch)", r"\1", PAGE, flags=re.M)
    for text, path in zip(re.findall(r"```toml\n(.*?)```", optional, re.DOTALL), "ab", strict=True):
        (tmp_path / path).write_text(text)
    assert load_toml(tmp_path / "a")["search"]["warm_start"] is True
    assert read_space(tmp_path / "b").arch == "pe64"


def test_the_example_runs(tmp_path):
    (code,) = blocks("python")
    (tmp_path / "example.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("13.0 the step fell below")
