"""The engine in Amaranth: what docs/spec/accelerator.md says, to the bit and to the cycle.

From the leaves up: `memory` (read in order), `lane` (multiply, accumulate, y banks), `stream`,
`activation`, `vector` (element-wise pipeline), `group`; and above the groups `sequencer`, `emitter`
(h to x copies and output), `loader`, `engine`. `emit` writes Verilog and RTLIL.

Conventions: a signal with suffix ``_k`` belongs to the word or slot that entered ``k`` cycles ago.
Control is reset; data isn't.
"""

from csbrnn.accelerator.rtl.engine import Engine
from csbrnn.accelerator.rtl.status import Code, State

__all__ = ["Code", "Engine", "State"]
