"""`absorb_output_registers`: registers behind ECP5 block RAMs and multipliers move into them.

A block RAM takes 4.3 ns to show what it read, its output register less than one; a multiplier's
result, too, should not have to go anywhere before it is registered. Yosys leaves both registers
unused. Behind every memory and multiplier of the engine stands a plain register, which the one
inside can replace: the same netlist, on fewer cells.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final, NamedTuple

__all__ = ["absorb_output_registers", "count_cells"]

_OUTPUTS: Final = {"DP16KD": re.compile(r"DO[AB]\d+"), "MULT18X18D": re.compile(r"P\d+")}
"""Cells with output registers, and which ports those are for."""

_PSEUDO_DUAL_PORT: Final = 36
"""Data width of a block RAM of which one port writes and the other reads, with both's outputs."""

_PLAIN: Final = {"CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
"""What a register must be like: rising edge, 0 at power-up."""


class _Behind(NamedTuple):
    """A register behind an output: its name, output, clock and clock enable, "1" for always."""

    name: str
    output: Any
    clock: Any
    enable: Any


def count_cells(module: dict[str, Any]) -> Counter[str]:
    """Return how many cells of each type a flat module of a Yosys JSON netlist has."""
    return Counter(str(cell["type"]) for cell in module["cells"].values())


def absorb_output_registers(module: dict[str, Any]) -> int:
    """Use the output registers of block RAMs and multipliers; return how many registers that saved.

    A cell is left as it is unless each of its outputs goes to one register and nowhere else, all
    with the same clock and clock enable, and no reset.

    Args:
        module: The flat top module of a Yosys JSON netlist after ``synth_ecp5``; changed in place.
    """
    cells = module["cells"]
    readers: dict[Any, list[tuple[str, str]]] = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                for bit in bits:
                    readers.setdefault(bit, []).append((name, port))
    outside = {bit for port in module["ports"].values() for bit in port["bits"]}
    saved = 0
    for cell in [cell for cell in cells.values() if cell["type"] in _OUTPUTS]:
        behind: dict[tuple[str, int], _Behind | None] = {
            (port, k): None if bit in outside else _register(cells, readers[bit])
            for port, bits in cell["connections"].items()
            if _OUTPUTS[cell["type"]].fullmatch(port)
            for k, bit in enumerate(bits)
            if bit in readers or bit in outside
        }
        found = {place: register for place, register in behind.items() if register is not None}
        controls = {(register.clock, register.enable) for register in found.values()}
        if len(found) < len(behind) or len(controls) != 1:
            continue
        if not _enable(cell, *controls.pop(), {port for port, _ in found}):
            continue
        for (port, k), register in found.items():
            cell["connections"][port][k] = register.output
            del cells[register.name]
        saved += len(found)
    return saved


def _register(cells: dict[str, Any], readers: list[tuple[str, str]]) -> _Behind | None:
    """The plain register that is all that reads a bit; None if there is more, or something else."""
    if len(readers) != 1:
        return None
    (name, port), cell = readers[0], cells[readers[0][0]]
    wires, parameters = cell["connections"], cell["parameters"]
    plain = (
        (cell["type"], port) == ("TRELLIS_FF", "DI")
        and wires.get("LSR", ["0"]) == ["0"]
        and all(parameters.get(key) == value for key, value in _PLAIN.items())
    )
    if not plain:
        return None
    enable = wires["CE"][0] if parameters["CEMUX"].strip() == "CE" else "1"
    return _Behind(name, wires["Q"][0], wires["CLK"][0], enable)


def _enable(cell: dict[str, Any], clock: Any, enable: Any, ports: set[str]) -> bool:
    """Switch a cell's output register on; whether that could be done."""
    wires, parameters = cell["connections"], cell["parameters"]
    if cell["type"] == "DP16KD":
        wide = int(parameters["DATA_WIDTH_B"], 2) == _PSEUDO_DUAL_PORT
        if wires["CLKB"] != [clock] or (not wide and any("A" in port for port in ports)):
            return False
        wires["OCEB"] = [enable]
        parameters.update({f"REGMODE_{side}": "OUTREG" for side in ("AB" if wide else "B")})
        return True
    for port, bit, role in (("CLK0", clock, "CLK"), ("CE0", enable, "CE"), ("RST0", "0", "RST")):
        wires[port], cell["port_directions"][port] = [bit], "input"
        parameters[f"REG_OUTPUT_{role}"] = port
    return True
