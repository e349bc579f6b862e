"""Packages that csbrnn does without until they are needed: what to install, and late imports.

The extras of ``pyproject.toml`` bring them: ``pip install 'csbrnn[train]'`` brings PyTorch.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from csbrnn.errors import MissingDependencyError

__all__ = ["late_names", "needed_for"]


@contextlib.contextmanager
def needed_for(what: str, extra: str) -> Iterator[None]:
    """Says which extra has what the imports in a ``with`` block lack.

    Args:
        what: What needs them, as the start of a sentence ("a search").
        extra: Of ``csbrnn``.

    Raises:
        MissingDependencyError: A package is not installed; it may be one that another one needs.
    """
    # Before torch, which imports it in C and loses a Ctrl-C that comes meanwhile.
    import numpy  # noqa: F401

    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "csbrnn"):
            raise
        raise MissingDependencyError(
            f"{what} needs {package}, which is not installed: pip install 'csbrnn[{extra}]'"
        ) from None


def late_names(
    package: str, module_of: Mapping[str, str], *, extra: str = "train"
) -> Callable[[str], Any]:
    """Returns a ``__getattr__`` for a package, which imports what has a name when first asked.

    Args:
        package: Its ``__name__``.
        module_of: Name -> the module below the package that has it; a name that is its own
            module's is that module.
        extra: Of ``csbrnn``: has the packages that these modules need.
    """

    def find(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with needed_for(f"{package}.{name}", extra):
            module = importlib.import_module(f"{package}.{module_of[name]}")
        value = module if name == module_of[name] else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    return find
