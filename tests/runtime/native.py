"""Compiling and running the C test programs."""

import shutil
import subprocess
from pathlib import Path

import pytest

from csbrnn import runtime

HERE = Path(__file__).parent
SOURCES = Path(runtime.__file__).parent / "c"
#: What a device needs; the binding and the bandwidth meter are Python's.
LIBRARY = tuple(sorted(p for p in SOURCES.glob("*.c") if p.stem not in ("binding", "bandwidth")))
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror")


def require(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def require_sanitizers(compiler, folder):
    """Skips where a compiler comes without the sanitizers' runtime, as Debian's clang does."""
    require(compiler)
    probe = folder / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [compiler, "-fsanitize=address,undefined", str(probe), "-o", str(folder / "probe")]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip(f"{compiler} has no runtime of the sanitizers (Debian: libclang-rt-dev)")


def build(target, program, *flags, compiler="cc", library=LIBRARY):
    """Builds a test program with the library's sources in one command."""
    require(compiler)
    command = [compiler, *STRICT, "-g", *flags, f"-I{SOURCES}", f"-I{HERE}", str(HERE / program),
               *map(str, library), "-o", str(target), "-pthread"]  # fmt: skip
    subprocess.run(command, check=True)
    return target


def run(*command, environment=None):
    """Runs a program; its standard output. Anything on standard error fails."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )
    assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stderr[-4000:]}"
    assert done.stderr == ""
    return done.stdout
