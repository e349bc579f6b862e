"""What the engine tells its host: `State` and, if it stopped on an error, `Code`."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["CODE_BITS", "STATE_BITS", "Code", "State"]

STATE_BITS = 2
CODE_BITS = 4


class State(IntEnum):
    """What the engine is doing."""

    IDLE = 0
    RUNNING = 1
    DONE = 2
    ERROR = 3


class Code(IntEnum):
    """Why the engine stopped. All but `NONE` last until reset."""

    NONE = 0
    ILLEGAL_OPCODE = 1
    """The instruction's opcode is none of the instruction set."""
    PC_OVERRUN = 2
    """The program went on behind the last instruction that was loaded."""
    STREAM_OVERRUN = 3
    """A stream's ``wrap`` and the end of its memories don't fall together."""
    INPUT_TLAST = 4
    """The input's TLAST is not exactly on the last beat of an IN."""
    Y_CONFLICT = 5
    """A stream updated the half of y that a VOP was draining."""
    LOAD = 6
    """The load stream named a memory, or an address, that doesn't exist."""
    ZERO_COUNT = 7
    """A VOP or an IN of nothing."""
