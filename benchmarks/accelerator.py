"""Models the accelerator on the papers' networks, and writes ``results/accelerator.json``.

Everything is modelled or simulated, so results don't depend on the machine. Some minutes.

    python benchmarks/accelerator.py                 # cycles
    python benchmarks/accelerator.py --demo DIR      # and fixed point on ``csbrnn demo``'s networks
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator import compile_step, count_cycles, fixed_step, load_arch, run_fixed
from csbrnn.accelerator.baselines import baselines
from csbrnn.commands.hw_model import load_hw_model
from csbrnn.compiler import lower, run_program
from csbrnn.model import load, quantize
from csbrnn.numerics import log_softmax
from csbrnn.tasks.text import TextCorpus, language_reference

RESULT = Path(__file__).resolve().parent / "results" / "accelerator.json"

#: Case, arch, pattern, block, row group, least utilization aimed at.
ROWS = (
    ("sr", "pe256", "csb", "4x64", 4, 0.98),
    ("sr", "pe256", "csb", "32x32", 4, 0.97),
    ("sr", "pe256", "csb", "64x64", 4, 0.97),
    ("sr", "pe256", "csb", "32x32", 1, 0.92),
    ("sr", "pe256", "csb", "64x64", 1, 0.92),
    ("sr", "pe256", "csb", "16x16", 1, None),
    ("sr", "pe64", "csb", "32x32", 4, None),
    ("sr", "pe512", "csb", "32x32", 4, 0.95),
    ("mt", "pe256", "csb", "4x64", 4, 0.98),
    ("mt", "pe256", "csb", "32x32", 4, 0.97),
    ("mt", "pe256", "csb", "64x64", 4, 0.97),
    ("mt", "pe256", "csb", "32x32", 1, 0.92),
    ("mt", "pe256", "csb", "64x64", 1, 0.92),
    ("mt", "pe512", "csb", "32x32", 4, 0.95),
    ("sr", "pe256", "blocks", "4x4", None, None),
    ("sr", "pe256", "blocks", "8x8", None, None),
    ("sr", "pe256", "banks", None, None, None),
    ("sr", "pe256 of 1 lane", "banks", None, None, None),
    ("sr", "pe256 of 1 lane", "csb", "32x32", 1, None),
)

STREAMS, CHARACTERS = 16, 400
"""Text for the loss in fixed point: pieces that run side by side, and the length of each."""


def main() -> None:
    """Runs what was asked for; keeps what the file has besides."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, help="folder that `csbrnn demo` wrote")
    parser.add_argument("--only", help="`demo`: leave the cycles as they are")
    arguments = parser.parse_args()
    result: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    if arguments.only != "demo":
        result["label"] = "modelled: the cycle model, which the RTL equals"
        result["rows"] = []
        for row in ROWS:
            result["rows"].append(_row(*row))
            RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    if arguments.demo:
        result["demo"] = {n: _demo(arguments.demo / n) for n in ("dense", "pruned")}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _row(
    case: str,
    arch_name: str,
    pattern: str,
    block: str | None,
    row_group: int | None,
    goal: float | None,
) -> dict[str, Any]:
    arch = load_arch(arch_name.split()[0])
    if "1 lane" in arch_name:
        arch = replace(arch, name=arch_name, lanes=1, streams=arch.streams * arch.lanes)
    model = load_hw_model(case, block=block, row_group=row_group, pattern=pattern)
    step = fixed_step(model, arch)
    found = count_cycles(compile_step(step, arch).image)
    row = {
        "case": case,
        "arch": arch_name,
        "pattern": pattern,
        "block": block,
        "row_group": row_group,
        "goal": goal,
        "cycles": found.cycles,
        "latency_cycles": found.latency_cycles,
        "kept_weights": found.kept,
        "pes": found.pes,
        "utilization": found.utilization,
    }
    if pattern == "csb" and arch_name == "pe256":
        row["baselines"] = baselines(step, arch)
    print(
        case,
        arch_name,
        pattern,
        block,
        row_group,
        row["cycles"],
        f"{found.utilization:.4f}",
        flush=True,
    )
    return row


def _demo(folder: Path) -> dict[str, Any]:
    """Bits per character of held-out text: fp32, and the accelerator's integers."""
    model, arch = load(folder), load_arch("pe256")
    held_out = TextCorpus.from_text(language_reference()).held_out.astype(np.int64)
    pieces = held_out[: STREAMS * (CHARACTERS + 1)].reshape(STREAMS, CHARACTERS + 1).T
    xs, targets = pieces[:-1], pieces[1:]
    exact, _ = run_program(lower(model), xs)
    found: dict[str, Any] = {
        "label": "simulated: the fixed-point interpreter, which the RTL equals",
        "characters": int(targets.size),
        "fp32": _bits(exact, targets),
    }
    for name, bits in (("fixed16", 16), ("fixed12", 12)):
        machine = replace(arch, weight_bits=bits)
        step = fixed_step(quantize(model, name), machine)
        found[name] = _bits(run_fixed(step, machine, xs), targets)
        print(folder.name, name, found[name] - found["fp32"], flush=True)
    if folder.name == "pruned":
        for name in ("pe64", "pe256"):
            arch = load_arch(name)
            cycles = count_cycles(compile_step(fixed_step(model, arch), arch).image)
            found[name] = cycles.to_dict() | {"phases": None}
            print(folder.name, name, cycles.cycles, f"{cycles.utilization:.4f}", flush=True)
    return found


def _bits(logits: NDArray[Any], targets: NDArray[np.int64]) -> float:
    picked = np.take_along_axis(log_softmax(logits), targets[..., None], axis=-1)
    return float(-picked.mean() / np.log(2))


if __name__ == "__main__":
    main()
