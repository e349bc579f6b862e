"""Sizes as the fields of patterns carry them: positive integers, and ``None`` for "all"."""

from __future__ import annotations

from typing import Any

from csbrnn.checks import is_integer, plain_number
from csbrnn.errors import ArgumentError

__all__ = ["check_size", "parse_block"]


def check_size(name: str, value: Any) -> None:
    """Refuses what is no size.

    Raises:
        ArgumentError: ``value`` is not a positive integer.
    """
    if not is_integer(value, 1):
        raise ArgumentError(f"{name} must be a positive integer, not {value!r}")


def parse_block(block: Any) -> tuple[int | None, int | None]:
    """Returns (rows, columns) of a block; ``None`` stands for the whole dimension.

    Raises:
        ArgumentError: ``block`` is no pair of sizes.
    """
    sizes = tuple(block) if isinstance(block, (tuple, list)) else ()
    sizes = tuple(None if size == "all" else plain_number(size) for size in sizes)
    if len(sizes) != 2 or not all(size is None or is_integer(size, 1) for size in sizes):
        raise ArgumentError(
            "block must be two sizes (rows, columns), each a positive integer or None (all),"
            f" not {block!r}"
        )
    return sizes[0], sizes[1]
