"""Compiling and running the C test programs."""

import fcntl
import hashlib
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from csbrnn import runtime

HERE = Path(__file__).parent
SOURCES = Path(runtime.__file__).parent / "c"
#: What a device needs; the binding and the bandwidth meter are Python's.
NOT_FOR_DEVICES = ("binding", "binding_python", "bandwidth")
LIBRARY = tuple(sorted(p for p in SOURCES.glob("*.c") if p.stem not in NOT_FOR_DEVICES))
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-O1", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


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


def build(target, source, *arguments, compiler="cc"):
    """Compiles a source file by itself; what is asked for: a program, or with -c an object."""
    require(compiler)
    command = [compiler, *STRICT, "-g", f"-I{SOURCES}", f"-I{HERE}", source, *arguments,
               "-o", target, "-pthread"]  # fmt: skip
    subprocess.run([str(part) for part in command], check=True)
    return target


class Builder:
    """Builds test programs with the library, for which compilers take up to half a minute.

    Each combination of compiler and flags is compiled once in a test run: all workers have one
    folder, and where two need the same, one compiles while the other waits.
    """

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, source, *flags, compiler="cc", link=()):
        """A program; `flags` are for compiling and linking, `link` for linking alone."""
        require(compiler)
        name = hashlib.sha256(repr((source, self._path(compiler), flags, link)).encode())
        target = self.folder / f"{Path(source).stem}-{name.hexdigest()[:16]}"
        with self._once(target) as missing:
            if missing:
                objects = self._library(flags, compiler)
                build(target, HERE / source, *objects, *flags, *link, compiler=compiler)
        return target

    def _library(self, flags, compiler):
        """The library's object files."""
        name = hashlib.sha256(repr((self._path(compiler), flags)).encode())
        folder = self.folder / f"library-{name.hexdigest()[:16]}"
        with self._once(folder) as missing:
            if missing:
                folder.mkdir(exist_ok=True)
                for source in LIBRARY:
                    build(folder / f"{source.stem}.o", source, "-c", *flags, compiler=compiler)
        return sorted(folder.glob("*.o"))

    @staticmethod
    def _path(compiler):
        """What `cc` stands for may be what `gcc` does."""
        return str(Path(shutil.which(compiler)).resolve())

    @contextmanager
    def _once(self, target):
        """Says whether a target is missing, while no other process makes it."""
        done = target.with_name(target.name + ".done")
        with open(target.with_name(target.name + ".lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield not done.exists()
            done.touch()


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
