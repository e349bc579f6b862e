"""The records of an image as NumPy dtypes: the Python half of ``c/image.h``."""

from __future__ import annotations

from typing import Final

import numpy as np

__all__ = [
    "ACCUMULATE",
    "ARRIVE",
    "BARRIER",
    "BLOCK_HEAD",
    "BUNDLE_HEAD",
    "CONSTANT",
    "DTYPES",
    "EVERY",
    "HEADER",
    "INSTRUCTION",
    "INT8_BLOCK",
    "LINE",
    "LINE_COLUMNS",
    "LOG",
    "MAGIC",
    "MOVE",
    "NONE",
    "OPCODES",
    "OPERAND_SLACK",
    "OPERATION",
    "OPERATIONS",
    "PASS",
    "QUAD_HEAD",
    "SECTION",
    "SECTION_KINDS",
    "SLOTS",
    "SPAN",
    "STREAM",
    "STRIP",
    "STRIP_HEAD",
    "SUMS",
    "TABLES",
    "VERSION",
    "operand_floats",
    "padded",
]

MAGIC: Final = b"csbrnn\r\n"
VERSION: Final = 1
LINE: Final = 64
"""Alignment of every table and array, bytes: a cache line."""
STRIP: Final = 16
"""Rows of the widest strip, floats of a tile."""
SLOTS: Final = 32
"""Values that an element-wise program can hold at once."""
CONSTANT: Final = 0x80000000
NONE: Final = 0xFFFFFFFF
BARRIER, ACCUMULATE, LOG, EVERY, SUMS, ARRIVE = 1, 2, 4, 8, 16, 32

TABLES: Final = (
    "streams",
    "passes",
    "moves",
    "instructions",
    "spans",
    "sections",
    "operations",
    "constants",
)
_TABLE = [("offset", "<u8"), ("count", "<u4"), ("reserved", "<u4")]

HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("version", "<u4"),
        ("header_nbytes", "<u4"),
        ("nbytes", "<u8"),
        ("fingerprint", "<u8"),
        ("parts", "<u4"),
        ("causal", "<u4"),
        ("state_floats", "<u4"),
        ("memory_floats", "<u4"),
        *((name, _TABLE) for name in TABLES),
        ("reserved", "V16"),
    ]
)

STREAM: Final = np.dtype([(n, "<u4") for n in ("width", "token", "bound", "column")])
PASS: Final = np.dtype(
    [
        *(
            (n, "<u4")
            for n in (
                "reverse",
                "first_move",
                "reads",
                "writes",
                "first_instruction",
                "instructions",
                "chunk_first",
                "chunk_instructions",
            )
        )
    ]
)
MOVE: Final = np.dtype([(n, "<u4") for n in ("stream", "offset", "address", "length")])
INSTRUCTION: Final = np.dtype(
    [
        ("opcode", "u1"),
        ("flags", "u1"),
        ("reserved", "<u2"),
        *((n, "<u4") for n in ("length", "a", "b", "c", "d", "first", "count")),
        ("offset", "<u8"),
        ("reserved2", "V24"),
    ]
)
SPAN: Final = np.dtype([(n, "<u4") for n in ("row", "rows", "first_section", "sections")])
SECTION: Final = np.dtype(
    [
        *((n, "u1") for n in ("kind", "group", "windows", "dtype")),
        *((n, "<u4") for n in ("count", "columns", "row", "source", "source_length")),
        *((n, "<u4") for n in ("sums", "column")),
        *((n, "<u8") for n in ("heads", "indices", "values", "values_nbytes")),
    ]
)
STRIP_HEAD: Final = np.dtype([(n, "<u4") for n in ("row", "rows", "tiles", "reserved")])
BLOCK_HEAD: Final = np.dtype([("mask", "<u8"), ("row", "<u4"), ("columns", "<u4")])
QUAD_HEAD: Final = np.dtype([("row", "<u4", 4), ("tiles", "<u4")])
BUNDLE_HEAD: Final = np.dtype([("row", "<u4", 16), ("lines", "<u4")])
LINE_COLUMNS: Final = 16
"""Columns of each of a quad's strips that one line of numbers holds."""
INT8_BLOCK: Final = np.dtype(
    [("rows", "<u8"), ("columns", "<u8"), ("row", "<u4"), ("column", "<u4")]
)
OPERAND_SLACK: Final = 192
"""Bytes that kernels may read behind an operand in int8, whose length is rounded up to 64."""
OPERATION: Final = np.dtype([*((n, "u1") for n in ("op", "to", "a", "b")), ("operand", "<u4")])

OPCODES: Final = {
    name: number
    for number, name in enumerate(
        (
            *("product", "lstm", "gru", "elementwise", "softmax", "copy", "lookup"),
            *("quantize", "carry"),
        ),
        start=1,
    )
}
SECTION_KINDS: Final = {"dense": 1, "strips": 2, "blocks": 3, "scale": 4, "bundles": 5}
DTYPES: Final = {"fp32": 0, "bf16": 1, "int8": 2}
"""Of weights, by the name of their precision."""
OPERATIONS: Final = {
    name: number
    for number, name in enumerate(
        (
            *("load", "store", "constant"),
            *("neg", "sigmoid", "tanh", "relu", "exp", "log", "abs"),
            *("add", "sub", "mul", "div", "maximum", "minimum"),
        )
    )
}


def padded(count: int, to: int = STRIP) -> int:
    """Return ``count`` rounded up to a multiple of ``to``."""
    return -(-count // to) * to


def operand_floats(length: int) -> int:
    """Return the floats of an operand in int8: its scale, its values, and room behind them."""
    return 16 + (padded(length, 64) + OPERAND_SLACK) // 4
