"""Cells as torch modules, and networks between torch, ONNX and packed models.

`recurrent` makes any cell a trainable module, with `operations` under it; `rnn_layers` reads
recurrent modules as stacks. `packing` makes a packed model of a module: `trace` records its
forward, `lowering` follows the record with `operators`, `layout_operators`, `state_flow` and
`values`, and `storage` rounds and stores the weights. `unpack` and `onnx_export` lead out again;
`checkpoint` and `infer` load what a user names. Writing ONNX works without PyTorch; the rest is
imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from csbrnn.errors import MissingDependencyError
from csbrnn.nn.onnx_export import to_onnx

if TYPE_CHECKING:
    from csbrnn.nn.checkpoint import load_module
    from csbrnn.nn.packing import pack
    from csbrnn.nn.recurrent import Recurrent, States
    from csbrnn.nn.rnn_layers import stack_of
    from csbrnn.nn.unpack import Unpacked, to_torch

__all__ = [
    "Recurrent",
    "States",
    "Unpacked",
    "load_module",
    "pack",
    "stack_of",
    "to_onnx",
    "to_torch",
]

#: Public name -> the module that has it, for what needs PyTorch.
_MODULE_OF = {
    "Recurrent": "recurrent",
    "States": "recurrent",
    "Unpacked": "unpack",
    "load_module": "checkpoint",
    "pack": "packing",
    "stack_of": "rnn_layers",
    "to_torch": "unpack",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'csbrnn.nn' has no attribute {name!r}")
    try:
        module = importlib.import_module(f"csbrnn.nn.{_MODULE_OF[name]}")
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingDependencyError(
            f"csbrnn.nn.{name} needs PyTorch, which is not installed: pip install 'csbrnn[train]'"
        ) from None
    value = getattr(module, name)
    globals()[name] = value
    return value
