"""Builds the C library with setuptools; everything else is in pyproject.toml.

It is a shared library for ctypes, so no Python header is needed. Where there is one, a short file
more makes it an extension module, too, which calls a step faster than ctypes does, in the stable
ABI: one build serves every Python version either way.
"""

import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

SOURCES = Path("src/csbrnn/runtime/c")


def python_flags():
    """Return the flags that make an extension module of the library; none without a header."""
    include = sysconfig.get_path("include")
    # A CPython without a global lock has no stable ABI yet.
    stable = platform.python_implementation() == "CPython" and not sysconfig.get_config_var(
        "Py_GIL_DISABLED"
    )
    if not stable or not Path(include, "Python.h").is_file():
        return []
    late = ["-Wl,-undefined,dynamic_lookup"] if sys.platform == "darwin" else []
    return ["-DCSBRNN_PYTHON", f"-I{include}", *late]


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
        flags += python_flags() + os.environ.get("CFLAGS", "").split()
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
