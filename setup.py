"""Builds the C library with setuptools; everything else is in pyproject.toml.

It is a plain shared library for ctypes, not an extension module: no Python header is needed, and
one build serves every Python version.
"""

import os
import subprocess
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SOURCES = Path("src/csbrnn/runtime/c")


class BuildLibrary(build_ext):
    """Compiles and links with the compiler named by CC, honouring CFLAGS and LDFLAGS."""

    def build_extension(self, ext):
        """Compile and link in one command."""
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = os.environ.get("CC", "cc").split()
        # No contraction: a * b + c is two roundings unless a kernel asks for a fused one.
        flags = ["-O3", "-std=c11", "-ffp-contract=off", "-fvisibility=hidden"]
        flags += ["-fPIC", "-shared", "-DCSBRNN_SHARED"]
        flags += os.environ.get("CFLAGS", "").split()
        link = ["-pthread", *os.environ.get("LDFLAGS", "").split()]
        command = [*compiler, *flags, *ext.sources, "-o", str(target), *link]
        self.announce(" ".join(command), level=2)
        try:
            subprocess.run(command, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise CompileError(
                f"csbrnn needs a C compiler (set CC to choose one): {error}"
            ) from error

    def get_ext_filename(self, fullname):
        """Return a name without the Python version's tag."""
        return os.path.join(*fullname.split(".")) + ".so"


setup(
    ext_modules=[
        Extension(
            "csbrnn.runtime._csbrnn",
            sources=sorted(str(path) for path in SOURCES.glob("*.c")),
            depends=sorted(str(path) for path in SOURCES.glob("*.h")),
        )
    ],
    cmdclass={"build_ext": BuildLibrary},
)
