"""docs/adding-a-pattern.md runs, and its example passes the tests that every pattern gets."""

import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from csbrnn.errors import ArgumentError
from csbrnn.patterns import PATTERNS
from csbrnn.pruning import ADMM, prune_
from patterns import test_properties

from .models import Tagger, recipe, train

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-pattern.md"
#: Tests of one pattern alone, and those that are given further arguments.
MARKS = {
    name: [mark for mark in getattr(test, "pytestmark", []) if mark.name == "parametrize"]
    for name, test in vars(test_properties).items()
    if name.startswith("test_")
}
ALONE = [name for name, marks in MARKS.items() if len(marks) == 1]


@pytest.fixture
def even_rows(monkeypatch):
    """The page's code, run from top to bottom; the pattern is in the library while a test runs."""
    module = ModuleType("even_rows")
    monkeypatch.setitem(sys.modules, "even_rows", module)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), module.__dict__)
    monkeypatch.setitem(PATTERNS, "even_rows", module.EvenRows)
    return module.EvenRows


@pytest.mark.parametrize("name", ALONE)
@pytest.mark.parametrize("options", [{}, {"run": 2}, {"run": 50}], ids=str)
def test_what_holds_for_every_pattern(even_rows, name, options):
    getattr(test_properties, name)(pattern=even_rows(**options))


def test_most_of_those_tests_are_run():
    assert len(ALONE) >= 10


def test_dtypes(even_rows):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        test_properties.test_every_float_dtype(pattern=even_rows(run=2), dtype=dtype)


def test_training_by_its_text_form(even_rows):
    model = Tagger()
    method = ADMM(3, 2, interval=1)
    pruner = prune_(model, recipe(method, pattern="even_rows(run=2)", precision="int8"))
    train(model, torch.optim.Adam(model.parameters(), lr=1e-2), pruner, 5)
    kept = (model.encoder.weight_hh_l0 != 0).sum(1)
    assert (kept == 4).all()
    pruner.finalize()


def test_refusal(even_rows):
    with pytest.raises(ArgumentError, match="run must be a positive integer, not 0"):
        even_rows(run=0)
