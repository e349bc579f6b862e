"""`Arch`: the sizes of one accelerator, read from TOML and checked; `TIMING`: its cycle counts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from csbrnn.checks import is_integer
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.files import load_toml

__all__ = [
    "PRESETS",
    "TIMING",
    "VECTOR_FRAC",
    "X_BITS",
    "Arch",
    "Timing",
    "address_bits",
    "clog2",
    "load_arch",
]

PRESETS: Final = ("pe16", "pe64", "pe256", "pe512")
"""Names that `load_arch` knows without a file."""

_PRESETS: Final = Path(__file__).parent / "presets"

X_BITS: Final = 16
"""Of a value of x and h. Fixed: the input and output streams carry such values."""

VECTOR_FRAC: Final = 15
"""Binary digits behind the point in vector memories: activations are exact to 2^-15."""


class Timing(NamedTuple):
    """Cycle counts of docs/spec/accelerator.md ("Cycles"), as the RTL has them.

    Attributes:
        start: From start to the first instruction's execution.
        fetch: Between the executions of two instructions.
        post: From RUN's execution to the first word it allows.
        settle: From RUN's execution until RUN, WAIT and END can see its effect.
        stream: From an ``end`` word's issue to the segment being finished.
        rmw: Least distance, in words, of two updates of one row of y by one lane.
        vector: From the last slot of a VOP to its last effect; and one more a level of the tree
            that adds up banks.
        vector_min: From the first slot of a VOP until a later VOP may read its results.
        input: Of an IN, beyond its beats.
    """

    start: int
    fetch: int
    post: int
    settle: int
    stream: int
    rmw: int
    vector: int
    vector_min: int
    input: int


TIMING: Final = Timing(
    start=4, fetch=3, post=3, settle=5, stream=3, rmw=4, vector=29, vector_min=18, input=1
)


def clog2(count: int) -> int:
    """Return the least k with 2^k >= count."""
    return (count - 1).bit_length()


def address_bits(depth: int) -> int:
    """Return the bits of an address of a memory: at least 1."""
    return max(clog2(depth), 1)


@dataclass(frozen=True)
class Arch:
    """The sizes of one accelerator.

    Attributes:
        name: For reports.
        groups: PEGroups (G); each owns hidden units.
        streams: Weight streams per group (P).
        lanes: Rows that a stream multiplies at once (Q).
        x_write: Values that all copies of x take a cycle (W); divides ``groups``.
        words: Depth of a stream's word memory.
        strips: Depth of a stream's strip memory.
        x: Values of x; a multiple of ``x_write``.
        y: Rows of a y bank and half, the dump row included.
        vector: Depth of a group's vector memory.
        program: Depth of the program memory, in instructions.
        queue: Segments that may be posted and unfinished.
        weight_bits: Of a weight.
        acc_bits: Of a sum.
        vector_bits: Of vector memories; `VECTOR_FRAC` of them are behind the point.
        max_shift: Largest shift of an x operand.
        segments: Of the activation table over [0, 8).

    Raises:
        UnsupportedModelError: Sizes are out of range or don't fit together; with all reasons.
    """

    name: str
    groups: int
    streams: int
    lanes: int
    x_write: int
    words: int
    strips: int
    x: int
    y: int
    vector: int
    program: int
    queue: int = 4
    weight_bits: int = 16
    acc_bits: int = 36
    vector_bits: int = 20
    max_shift: int = 4
    segments: int = 256

    def __post_init__(self) -> None:
        if reasons := _problems(self):
            raise UnsupportedModelError(f"arch {self.name!r} can't be built", reasons)

    @property
    def pes(self) -> int:
        """Multiplier-accumulators."""
        return self.groups * self.streams * self.lanes

    @property
    def banks(self) -> int:
        """Y banks of a group and half: what a drain adds up."""
        return self.streams * self.lanes

    @property
    def cadence(self) -> int:
        """Cycles a slot of a VOP that writes x or the output."""
        return self.groups // self.x_write

    @property
    def levels(self) -> int:
        """Of the adder tree over a group's y banks."""
        return clog2(self.streams) + clog2(self.lanes)

    @property
    def x_addr_bits(self) -> int:
        """Of an address of x."""
        return address_bits(self.x)

    @property
    def y_addr_bits(self) -> int:
        """Of an address of y."""
        return address_bits(self.y)

    @property
    def dump_row(self) -> int:
        """The row of y that lanes without a row add their zeros to."""
        return self.y - 1

    @property
    def word_bits(self) -> int:
        """Of a stream word."""
        return self.lanes * self.weight_bits + self.x_addr_bits + 3

    @property
    def strip_bits(self) -> int:
        """Of a strip descriptor."""
        return self.lanes * self.y_addr_bits

    def to_dict(self) -> dict[str, Any]:
        """All attributes, by name."""
        return dataclasses.asdict(self)


#: Attribute -> (table of the file, least, most). Addresses of the ISA bound the memories.
_RANGES: Final[dict[str, tuple[str, int, int]]] = {
    "groups": ("engine", 1, 256),
    "streams": ("engine", 1, 64),
    "lanes": ("engine", 1, 8),
    "x_write": ("engine", 1, 64),
    "words": ("memory", 2, 1 << 20),
    "strips": ("memory", 2, 1 << 20),
    "x": ("memory", 2, 1 << 16),
    "y": ("memory", 2, 1 << 12),
    "vector": ("memory", 2, 1 << 12),
    "program": ("memory", 8, 1 << 12),
    "queue": ("memory", 2, 15),
    "weight_bits": ("numbers", 4, 18),
    "acc_bits": ("numbers", 24, 48),
    "vector_bits": ("numbers", 18, 24),
    "max_shift": ("numbers", 0, 7),
    "segments": ("numbers", 16, 4096),
}


def load_arch(source: str | Path) -> Arch:
    """Return a preset by name, or the arch that a TOML file describes.

    Raises:
        ArgumentError: There is no such preset or file, it is not TOML, or it has keys that are
            missing, unknown or not whole numbers: all of them.
        UnsupportedModelError: The sizes don't fit together.
    """
    if str(source) in PRESETS:
        return _read(load_toml(_PRESETS / f"{source}.toml"), f"preset {source}")
    path = Path(source)
    if not path.is_file():
        raise ArgumentError(
            f"arch must be one of {', '.join(PRESETS)} or a TOML file, and there is no {source}"
        )
    return _read(load_toml(path), str(path))


def _read(data: dict[str, Any], where: str) -> Arch:
    reasons: list[str] = []
    fields: dict[str, Any] = {"name": data.pop("name", "arch")}
    if not isinstance(fields["name"], str):
        reasons.append(f"name must be a text, not {fields['name']!r}")
    defaults = {f.name for f in dataclasses.fields(Arch) if f.default is not dataclasses.MISSING}
    for key, (table, *_) in _RANGES.items():
        section = data.get(table, {})
        if not isinstance(section, dict) or key not in section:
            if key not in defaults:
                reasons.append(f"{table}.{key} is missing")
            continue
        value = section.pop(key)
        if not is_integer(value):
            reasons.append(f"{table}.{key} must be a whole number, not {value!r}")
        fields[key] = value
    for table, section in data.items():
        names = [f"{table}.{key}" for key in section] if isinstance(section, dict) else [table]
        reasons += [f"{name} is not known" for name in names]
    if reasons:
        raise ArgumentError(f"{where}: " + "; ".join(reasons))
    return Arch(**fields)


def _problems(arch: Arch) -> list[str]:
    found = [
        f"{table}.{key} must lie in {least}..{most}, not {getattr(arch, key)}"
        for key, (table, least, most) in _RANGES.items()
        if not least <= getattr(arch, key) <= most
    ]
    if found:
        return found
    for key in ("lanes", "x_write", "segments"):
        value = getattr(arch, key)
        if value & (value - 1):
            found.append(f"{_RANGES[key][0]}.{key} must be a power of two, not {value}")
    if arch.groups % arch.x_write:
        found.append(
            f"engine.x_write must divide engine.groups; {arch.x_write} does not divide"
            f" {arch.groups}"
        )
    if arch.x % arch.x_write:
        found.append(
            f"memory.x must be a multiple of engine.x_write; {arch.x} is none of {arch.x_write}"
        )
    least = arch.weight_bits + X_BITS
    if arch.acc_bits < least:
        found.append(
            f"numbers.acc_bits must be at least weight_bits + {X_BITS} = {least}, to hold one"
            f" product, not {arch.acc_bits}"
        )
    return found
