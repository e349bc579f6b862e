"""Programs as text: `format_program` prints them, `parse_program` reads them back.

One instruction a line, its address first; what follows ``;`` is a comment::

     0  in    153 -> x[0]
     1  run   half 0, shift 3
     3  wait  1
     4  vop   64: v[192] = v[0] * sigmoid(y0[64] >> 13 + v[128]) + v[256] -> x[160] >> 0, out
     9  next  15
    15  jump  3, toggle
    16  end

A VOP without a destination writes ``_ = ..``; ``x[..] >> s`` and ``out >> s`` say how x is rounded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from csbrnn.accelerator.isa import ACTS, Combine, End, In, Instruction, Jump, Next, Run, Vop, Wait
from csbrnn.errors import ArgumentError

__all__ = ["format_instruction", "format_program", "parse_instruction", "parse_program"]

_TERMS: Final = {
    Combine.PRODUCT: "{p}",
    Combine.ADD: "{p} + {e}",
    Combine.SUB: "{p} - {e}",
    Combine.RSUB: "{e} - {p}",
}


def format_program(program: Iterable[Instruction]) -> str:
    """The program as text; ends with a newline."""
    return "".join(f"{pc:4}  {format_instruction(code)}\n" for pc, code in enumerate(program))


def parse_program(text: str) -> tuple[Instruction, ...]:
    """Return the program that a text stands for; `format_program` turned around.

    Raises:
        ArgumentError: A line is not understood, or its address is not the next one; with the line.
    """
    program: list[Instruction] = []
    for number, line in enumerate(text.splitlines(), start=1):
        content = line.split(";")[0].strip()
        if not content:
            continue
        address, _, rest = content.partition(" ")
        if address != str(len(program)):
            raise ArgumentError(
                f"line {number}: expected address {len(program)}, got {address!r}: {line.strip()!r}"
            )
        try:
            program.append(parse_instruction(rest.strip()))
        except ArgumentError as error:
            raise ArgumentError(f"line {number}: {error}") from None
    return tuple(program)


def format_instruction(code: Instruction) -> str:
    """One instruction as text."""
    match code:
        case Run(half=half, shift=shift):
            return f"run   half {half}, shift {shift}"
        case Wait(count=count):
            return f"wait  {count}"
        case In(count=count, x=x):
            return f"in    {count} -> x[{x}]"
        case Next(target=target):
            return f"next  {target}"
        case Jump(target=target, toggle=toggle):
            return f"jump  {target}" + ", toggle" * toggle
        case End():
            return "end"
        case Vop():
            return f"vop   {_vop(code)}"


def _vop(code: Vop) -> str:
    terms = []
    if code.drain:
        terms.append(f"y{code.half}[{code.row}] >> {code.drain_shift}")
    if code.v_en:
        terms.append(f"v[{code.v}]")
    argument = " + ".join(terms) or "0"
    product = f"{ACTS[code.act]}({argument})"
    if code.a_en:
        product = f"v[{code.a}] * {product}"
    addend = f"v[{code.e}]" if code.e_en else "0"
    result = _TERMS[Combine(code.combine)].format(p=product, e=addend)
    text = f"{code.n}: {f'v[{code.d}]' if code.d_en else '_'} = {result}"
    if code.x_en:
        text += f" -> x[{code.x}] >> {code.x_shift}" + ", out" * code.out
    elif code.out:
        text += f" -> out >> {code.x_shift}"
    return text


_PATTERNS: Final = {
    "run": re.compile(r"half ([01]), shift (\d+)"),
    "wait": re.compile(r"(\d+)"),
    "in": re.compile(r"(\d+) -> x\[(\d+)\]"),
    "next": re.compile(r"(\d+)"),
    "jump": re.compile(r"(\d+)(, toggle)?"),
    "end": re.compile(r""),
}
_ACT: Final = rf"(?P<act>{'|'.join(ACTS)})\((?P<argument>[^()]*)\)"
_VOP: Final = re.compile(
    r"(?P<n>\d+): (?:v\[(?P<d>\d+)\]|_) = "
    r"(?:(?P<before>v\[\d+\]|0) - )??"
    rf"(?:v\[(?P<a>\d+)\] \* )?{_ACT}"
    r"(?: (?P<sign>[+-]) (?P<after>v\[\d+\]|0))?"
    r"(?: -> (?:x\[(?P<x>\d+)\] >> (?P<x_shift>\d+)(?P<also>, out)?|out >> (?P<out_shift>\d+)))?"
)
_ARGUMENT: Final = re.compile(
    r"0|(?:y(?P<half>[01])\[(?P<row>\d+)\] >> (?P<shift>\d+))?(?: \+ )?(?:v\[(?P<v>\d+)\])?"
)


def parse_instruction(text: str) -> Instruction:
    """Return the instruction of one line.

    Raises:
        ArgumentError: It is not understood.
    """
    name, _, rest = text.partition(" ")
    rest = rest.strip()
    if name == "vop":
        return _parse_vop(text, rest)
    match = _PATTERNS[name].fullmatch(rest) if name in _PATTERNS else None
    if match is None:
        raise ArgumentError(f"not an instruction: {text!r}")
    numbers = [int(g) for g in match.groups() if g and g.isdigit()]
    match name:
        case "run":
            return Run(*numbers)
        case "wait":
            return Wait(*numbers)
        case "in":
            return In(*numbers)
        case "next":
            return Next(*numbers)
        case "jump":
            return Jump(numbers[0], toggle=int(match[2] is not None))
        case _:
            return End()


def _parse_vop(text: str, rest: str) -> Vop:
    match = _VOP.fullmatch(rest)
    argument = _ARGUMENT.fullmatch(match["argument"]) if match else None
    both = match and match["before"] and match["sign"]
    if match is None or argument is None or both:
        raise ArgumentError(f"not a vector operation: {text!r}")
    addend = match["before"] or match["after"]
    signs = {None: Combine.PRODUCT, "+": Combine.ADD, "-": Combine.SUB}
    combine = Combine.RSUB if match["before"] else signs[match["sign"]]
    shift = match["x_shift"] or match["out_shift"]
    fields: dict[str, int] = {
        "n": int(match["n"]),
        "act": ACTS.index(match["act"]),
        "combine": combine,
        "x_shift": int(shift or 0),
        "out": int(bool(match["also"] or match["out_shift"])),
    }
    places = {
        "d": match["d"],
        "a": match["a"],
        "v": argument["v"],
        "e": addend[2:-1] if addend and addend != "0" else None,
        "x": match["x"],
    }
    for name, place in places.items():
        if place is not None:
            fields |= {f"{name}_en": 1, name: int(place)}
    if argument["row"] is not None:
        fields |= {
            "drain": 1,
            "half": int(argument["half"]),
            "row": int(argument["row"]),
            "drain_shift": int(argument["shift"]),
        }
    return Vop(**fields)
