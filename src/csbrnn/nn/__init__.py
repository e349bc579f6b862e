"""Cells as torch modules, and networks between torch, ONNX and packed models.

`recurrent` makes any cell a trainable module, with `operations` under it; `rnn_layers` reads
recurrent modules as stacks. `packing` makes a packed model of a module: `trace` records its
forward, `lowering` follows the record with `operators`, `layout_operators`, `state_flow` and
`values`, and `storage` rounds and stores the weights. `unpack` and `onnx_export` lead out again;
`checkpoint` and `infer` load what a user names. Writing ONNX works without PyTorch; the rest is
imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from csbrnn.nn.onnx_export import to_onnx
from csbrnn.optional import late_names

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

__getattr__ = late_names(
    __name__,
    {
        "Recurrent": "recurrent",
        "States": "recurrent",
        "Unpacked": "unpack",
        "load_module": "checkpoint",
        "pack": "packing",
        "stack_of": "rnn_layers",
        "to_torch": "unpack",
    },
)
