"""`forget_compiled`: what torch.compile made of a model is made again when its hooks change."""

from __future__ import annotations

import sys

__all__ = ["forget_compiled"]


def forget_compiled() -> None:
    """Lets compiled modules be compiled again when they run next.

    A compiled module has the hooks that it had when it first ran, doing what they did then, and by
    default it does not look whether that has changed.
    """
    dynamo = sys.modules.get("torch._dynamo")
    if dynamo is not None:  # else nothing was compiled yet
        dynamo.reset()
