"""Synthesizes the accelerator and writes ``results/synthesis.json``.

Cells and clocks are what the tools say, so results depend on their versions, which are recorded,
and not on the machine. Half an hour, most of it place and route.

    python benchmarks/synthesis.py              # everything
    python benchmarks/synthesis.py pe256        # the rows of one engine; the others stay
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from csbrnn.accelerator import load_arch
from csbrnn.accelerator.implementation import implement
from csbrnn.bench import Layout
from csbrnn.bench.cases import random_model
from csbrnn.cells import LSTM, Stack
from csbrnn.commands.hw_model import load_hw_model
from csbrnn.model import PackedModel

RESULT = Path(__file__).resolve().parent / "results" / "synthesis.json"

#: Network, arch, family, seeds of the placer (none: not placed).
ROWS = (
    ("small", "pe16", "ecp5", (1, 2)),
    ("sr", "pe256", "xilinx", ()),
    ("mt", "pe256", "xilinx", ()),
    ("sr", "pe512", "xilinx", ()),
)


def main() -> None:
    """Runs the rows that were asked for; keeps the file's others."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archs", nargs="*", help="of these engines only")
    wanted = parser.parse_args().archs
    kept: Mapping[str, Any] = json.loads(RESULT.read_text()) if RESULT.exists() else {"rows": []}
    done = {(row["network"], row["arch"], row["family"]): row for row in kept["rows"]}
    for network, arch, family, seeds in ROWS:
        if wanted and arch not in wanted:
            continue
        row = implement(
            _model(network),
            load_arch(arch),
            family=family,
            pnr=bool(seeds),
            seeds=seeds or (1,),
            report=lambda part: print(part, flush=True),
        ).to_dict()
        done[network, arch, family] = {"network": network, **row}
        rows = [done[key] for key in (row[:3] for row in ROWS) if key in done]
        RESULT.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def _model(network: str) -> PackedModel:
    """A built-in case, or one that the smallest engine holds: an LSTM of 96 units at 4x."""
    if network == "small":
        return random_model(Stack(LSTM, 40, 96), Layout((16, 16), 2), 4.0)
    return load_hw_model(network)


if __name__ == "__main__":
    main()
