"""docs/pruning.md runs, block after block."""

import re
from pathlib import Path
from types import ModuleType

PAGE = Path(__file__).parents[2] / "docs" / "pruning.md"


def test_the_page_runs(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 7
    module = ModuleType("pruning_page")
    for block in blocks:
        exec(compile(block, PAGE.name, "exec"), module.__dict__)
    assert "(final)" in capsys.readouterr().out
    assert module.packed.pruning_rate > 3.5


def test_every_method_is_on_the_page():
    from csbrnn.pruning.recipe import METHODS

    page = PAGE.read_text(encoding="utf-8")
    assert all(f"`{method.__name__}`" in page for method in METHODS.values())
