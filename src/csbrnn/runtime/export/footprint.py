"""What an export needs beside weights and states: code and stack, as a compiler makes them."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

__all__ = ["Footprint", "measure"]

_FLAGS: Final = ("-O3", "-std=c11", "-ffp-contract=off", "-fno-pie")
_CALL_GRAPH: Final = "-fcallgraph-info=su"
"""gcc 10 and later: who calls whom, and how large each frame is."""
_RED_ZONE: Final = 128
"""x86-64's ABI: what a function that calls none may use below its frame. Not in the call graph."""
_SKIPPED: Final = 56
"""Most that a frame with vectors of 64 bytes skips to align them, from a stack aligned to 8. Not in
the call graph, nor which frames do: on x86-64 any may, with the compiler's options."""
_SECONDS: Final = 300.0
"""Longest that one file may take: a large image as a C array takes some."""


@dataclass(frozen=True)
class Footprint:
    """Code and stack of an export, compiled for one machine.

    Attributes:
        how: Compiler, target and flags.
        code_nbytes: Instructions and tables of all files, without the image.
        kernels: Instruction set -> its part of the code.
        stack_nbytes: Upper bound of the stack below the interface, without what the C library's
            functions (memcpy and the like) take; None where the compiler can't tell.
    """

    how: str
    code_nbytes: int
    kernels: Mapping[str, int]
    stack_nbytes: int | None


def measure(
    compiler: str,
    files: Mapping[str, bytes],
    *,
    kernel_files: Mapping[str, str],
    image_nbytes: int,
    entries: Collection[str],
    idle: Collection[str],
) -> Footprint | None:
    """Compile an export and measure it.

    Args:
        compiler: Its command; may hold options, as $CC may.
        files: Name -> what it holds; the .c files among them are compiled.
        kernel_files: File -> the instruction set whose kernels it holds.
        image_nbytes: Constants that are weights and not code.
        entries: Functions that users call.
        idle: Kernel functions that this model never calls.

    Returns:
        None where the compiler is missing or can't compile the files.
    """
    words = compiler.split()
    if not words or not shutil.which(words[0]):
        return None
    with tempfile.TemporaryDirectory(prefix="csbrnn-") as name:
        folder = Path(name)
        for file, data in files.items():
            (folder / file).write_bytes(data)
        sizes: dict[str, int] = {}
        graph = _CallGraph(set(kernel_files), idle, x86_64=_machine(words).startswith("x86_64"))
        for file in sorted(f for f in files if f.endswith(".c")):
            command = [*words, *_FLAGS, "-c", file]
            if not _run([*command, _CALL_GRAPH], folder) and not _run(command, folder):
                return None
            size = _size(words, (folder / file).with_suffix(".o"))
            if size is None:
                return None
            sizes[file] = size
            graph.read((folder / file).with_suffix(".ci"))
        kernels: dict[str, int] = {}
        for file, isa in kernel_files.items():
            kernels[isa] = kernels.get(isa, 0) + sizes[file]
        return Footprint(
            how=f"{_named(words)}, {_FLAGS[0]}",
            code_nbytes=sum(sizes.values()) - image_nbytes,
            # Kernels of other architectures compile to nothing.
            kernels={isa: nbytes for isa, nbytes in kernels.items() if nbytes},
            stack_nbytes=graph.depth(entries),
        )


class _CallGraph:
    """What gcc says of functions: a frame's bytes, and callees."""

    _NODE: Final = re.compile(r'node: \{ title: "([^"]*)" label: "[^"]*?(\d+) bytes \(([a-z,]+)\)')
    _EDGE: Final = re.compile(r'edge: \{ sourcename: "([^"]*)" targetname: "([^"]*)"')

    def __init__(
        self, kernel_files: Collection[str], idle: Collection[str], *, x86_64: bool
    ) -> None:
        self._kernel_files, self._idle = kernel_files, idle
        self._red_zone, self._skipped = (_RED_ZONE, _SKIPPED) if x86_64 else (0, 0)
        self._frames: dict[str, int] = {}
        self._callees: dict[str, set[str]] = {}
        self._bounded = True

    def read(self, path: Path) -> None:
        """Add one file's part; without one the depth stays unknown."""
        if not path.exists():
            self._bounded = False
            return
        text = path.read_text(encoding="utf-8")
        for title, nbytes, kind in self._NODE.findall(text):
            self._frames[title] = int(nbytes) + self._skipped
            self._bounded &= kind != "dynamic"
        for caller, callee in self._EDGE.findall(text):
            self._callees.setdefault(caller, set()).add(callee)

    def depth(self, entries: Collection[str]) -> int | None:
        """Return the bytes of the longest chain of calls; None if there is no bound."""
        if not self._bounded or not set(entries) <= set(self._frames):
            return None
        try:
            return max(self._below(entry, ()) for entry in entries) + self._red_zone
        except RecursionError:
            return None

    def _below(self, function: str, path: tuple[str, ...]) -> int:
        if function in path:
            raise RecursionError(function)
        callees = self._callees.get(function, set())
        if "__indirect_call" in callees:
            callees = callees - {"__indirect_call"} | self._kernels
        path = (*path, function)
        deepest = max((self._below(callee, path) for callee in callees), default=0)
        return self._frames.get(function, 0) + deepest

    @cached_property
    def _kernels(self) -> set[str]:
        """Functions that the kernels' tables point to: those that nobody calls by name."""
        called = {callee for callees in self._callees.values() for callee in callees}
        return {
            title
            for title in self._frames
            if title.partition(":")[0] in self._kernel_files
            and title not in called
            and title.partition(":")[2] not in self._idle
        }


def _run(command: list[str], folder: Path) -> str | None:
    """Return what a command prints (at least a blank); None if it fails."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout or " "


def _size(words: list[str], path: Path) -> int | None:
    """Return an object file's bytes of code, constants and initialized data."""
    printed = _run([*words, "-print-prog-name=size"], path.parent)
    # gcc names the tool without its prefix where it finds no other; a cross compiler's has one.
    prefixed = re.sub(r"(gcc|clang|cc)(-[\d.]+)?$", "size", words[0])
    for tool in (prefixed, (printed or "").strip(), "size"):
        table = _run([tool, path.name], path.parent) if tool and tool != words[0] else None
        found = re.search(r"^\s*(\d+)\s+(\d+)\s+(\d+)", table or "", re.MULTILINE)
        if found:
            return int(found[1]) + int(found[2])
    return None


def _named(words: list[str]) -> str:
    text = _run([*words, "--version"], Path()) or ""
    makers = {"clang": "clang", "Free Software Foundation": "gcc"}
    maker = next((name for mark, name in makers.items() if mark in text), words[0])
    number = re.search(r"\d+\.\d+(\.\d+)?", text)
    return f"{maker} {number[0] if number else ''} for {_machine(words) or 'this machine'}"


def _machine(words: list[str]) -> str:
    return (_run([*words, "-dumpmachine"], Path()) or "").strip()
