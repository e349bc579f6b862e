"""`check_device`: whether PyTorch can train on a device, before anything is written."""

from __future__ import annotations

import torch

from csbrnn.errors import ArgumentError

__all__ = ["check_device"]


def check_device(name: str) -> None:
    """Refuses a device that this machine's PyTorch does not have.

    Raises:
        ArgumentError: It is none, or can't be used.
    """
    try:
        torch.zeros(1, device=torch.device(name))
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ArgumentError(
            "--device must be one that this PyTorch can train on, such as cpu or cuda:0, not"
            f" {name!r}: {reason}"
        ) from None
