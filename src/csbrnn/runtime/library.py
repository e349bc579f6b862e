"""The C library, loaded once and described to ctypes."""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from csbrnn.checks import is_integer
from csbrnn.errors import ArgumentError, MissingDependencyError

__all__ = [
    "NAME",
    "Call",
    "Model",
    "available_isas",
    "bound_step",
    "default_isa",
    "library",
    "read_bandwidth",
]

NAME: Final = "_csbrnn"
"""File name of the shared library, beside this package, without its suffix."""

_SUFFIXES: Final = (*importlib.machinery.EXTENSION_SUFFIXES, ".so", ".dylib")
_POINTER, _SIZE, _NAME = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p


class Model(ctypes.Structure):
    """``csbrnn_model``."""

    _fields_ = (("image", _POINTER), ("kernels", _POINTER))


class Call(ctypes.Structure):
    """``csbrnn_call``: a stream's pointers, so that a step passes one argument."""

    _fields_ = (
        ("model", Model),
        ("pool", _POINTER),
        ("memory", _POINTER),
        ("x", _POINTER),
        ("y", _POINTER),
    )


_FUNCTIONS: Final = {
    "csbrnn_image_check": (ctypes.c_int, (_POINTER, _SIZE)),
    "csbrnn_open": (ctypes.c_int, (ctypes.POINTER(Model), _POINTER, _SIZE, _NAME)),
    "csbrnn_isa": (_NAME, (ctypes.c_uint,)),
    "csbrnn_memory_nbytes": (_SIZE, (ctypes.POINTER(Model),)),
    "csbrnn_pool_create": (_POINTER, (ctypes.c_uint,)),
    "csbrnn_pool_destroy": (None, (_POINTER,)),
    "csbrnn_many_nbytes": (_SIZE, (ctypes.POINTER(Model), _SIZE, _SIZE)),
    "csbrnn_run_many": (
        ctypes.c_int,
        (ctypes.POINTER(Model), _POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER),
    ),
    "csbrnn_pool_run_many": (
        ctypes.c_int,
        (_POINTER, ctypes.POINTER(Model), _POINTER, _POINTER, _POINTER, _SIZE, _SIZE, _POINTER),
    ),
    "csbrnn_call_step": (ctypes.c_int, None),  # unchecked: the shortest call that ctypes makes
    "csbrnn_read_bandwidth": (ctypes.c_double, (_SIZE, ctypes.c_uint, ctypes.c_uint)),
}


@functools.cache
def library() -> ctypes.CDLL:
    """Return the C library. Its symbols stay its own; calls release the interpreter's lock.

    Raises:
        MissingDependencyError: It has not been built.
    """
    folder = Path(__file__).parent
    paths = [folder / (NAME + suffix) for suffix in _SUFFIXES]
    path = next((p for p in paths if p.exists()), None)
    if path is None:
        raise MissingDependencyError(
            f"the C library must lie beside csbrnn.runtime, and {folder} has no {NAME}.so: build it"
            " with a C compiler by `pip install -e .` (or `python setup.py build_ext --inplace`)"
        )
    loaded = ctypes.CDLL(str(path), mode=getattr(os, "RTLD_LOCAL", 0))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(loaded, name)
        function.restype = result
        if arguments is not None:
            function.argtypes = arguments
    return loaded


def bound_step(call: Call) -> Callable[[], int]:
    """Return a stream's step as a function that returns a ``csbrnn_error``, 0 if there was none.

    The library makes it if it was built as an extension module, too; otherwise ctypes does.
    """
    bind = _bind_step()
    if bind is None:
        return functools.partial(library().csbrnn_call_step, ctypes.byref(call))
    return bind(ctypes.addressof(call), call)


@functools.cache
def _bind_step() -> Callable[[int, object], Callable[[], int]] | None:
    """The library's own function, if it has one: to look again for each stream takes too long."""
    try:
        from csbrnn.runtime._csbrnn import bind_step
    except ImportError:
        return None
    return bind_step


def available_isas() -> tuple[str, ...]:
    """Return the instruction sets that this machine and this build have, best first."""
    names: list[str] = []
    while (name := library().csbrnn_isa(len(names))) is not None:
        names.append(name.decode())
    return tuple(names)


def default_isa() -> str:
    """Return the instruction set used if none is asked for: the best, or ``CSBRNN_ISA``.

    Raises:
        ArgumentError: The environment variable names one that is not available.
    """
    available = available_isas()
    asked = os.environ.get("CSBRNN_ISA")
    if not asked:
        return available[0]
    if asked not in available:
        raise ArgumentError(
            f"CSBRNN_ISA must be one of {', '.join(available)} on this machine, got {asked!r}"
        )
    return asked


def read_bandwidth(nbytes: int, *, threads: int = 1, repeats: int = 20) -> float:
    """Measure how fast memory is read, the best of several rounds.

    Args:
        nbytes: Size of the buffer that each thread reads again and again.
        threads: Threads that read at once, each its own buffer.
        repeats: Rounds, of about 64 MiB each.

    Returns:
        Bytes per second, of all threads together.

    Raises:
        ArgumentError: The arguments are out of range, or memory or threads are short.
    """
    if not (is_integer(nbytes, 512) and is_integer(threads, 1) and is_integer(repeats, 1)):
        raise ArgumentError(
            "nbytes must be an integer, at least 512, threads and repeats at least 1, got"
            f" {nbytes!r}, {threads!r} and {repeats!r}"
        )
    rate = float(library().csbrnn_read_bandwidth(nbytes, repeats, threads))
    if rate <= 0:
        raise ArgumentError(
            f"this machine must have {threads} times {nbytes} bytes of memory, and as many threads"
            " (256 at most) to read them; take less"
        )
    return rate
