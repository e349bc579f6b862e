"""Rewrites the tables of README.md and docs/ from the committed result files.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; what is between is replaced.

    python benchmarks/tables.py            # rewrite
    python benchmarks/tables.py --check    # exit with 1 if anything would change
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def demo() -> str:
    """The README's table: what ``csbrnn demo`` measured."""
    result = _read("demo.json")
    dense, pruned = result["dense"], result["pruned"]
    settings, environment = result["settings"], result["bench"]["environment"]
    rows = result["bench"]["rows"]

    def fastest(contender: str, layout_dense: bool, threads: int) -> float:
        return min(
            row["median_us"]
            for row in rows
            if row["contender"] == contender
            and row["threads"] == threads
            and row["precision"] == "fp32"
            and row["mode"] == "step"
            and not row["cold"]
            and (row["layout"] == "dense") == layout_dense
        )

    lines = [
        f"Character LSTM of {settings['hidden_size']} units, `csbrnn demo`, *measured* on "
        f"{environment['cpu']}:",
        "",
        "| | dense | pruned |",
        "|---|---:|---:|",
        f"| bits per character, held-out text | {dense['bits_per_char']:.3f} "
        f"| {pruned['bits_per_char']:.3f} |",
        f"| weights | {dense['weights']:,} "
        f"| {pruned['weights']:,} ({pruned['pruning_rate']:.1f}x in the pruned matrices) |",
        f"| bytes | {dense['nbytes']:,} | {pruned['nbytes']:,} |",
    ]
    for threads in (1, 2):
        ours = fastest("csbrnn", False, threads)
        lines.append(f"| **us a step, fp32, {threads} thread{'s' * (threads > 1)}** | | |")
        for label, contender in (
            ("PyTorch, fastest variant", "pytorch"),
            ("ONNX Runtime", "onnxruntime"),
            ("csbrnn", "csbrnn"),
        ):
            dense_us = fastest(contender, True, threads)
            last = f"**{ours:.1f}**" if contender == "csbrnn" else f"({dense_us / ours:.1f}x ours)"
            lines.append(f"| {label} | {dense_us:.1f} | {last} |")
    lines += ["", f"Largest difference between engine and PyTorch: {result['max_abs_error']:.0e}."]
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"demo": demo}


def _read(name: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((RESULTS / name).read_text(encoding="utf-8"))
    return result


def main() -> int:
    """Rewrites, or checks; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    stale = []
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        old = page.read_text(encoding="utf-8")
        new = _TABLE.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", old)
        if new != old:
            stale.append(page.relative_to(ROOT))
            if not check:
                page.write_text(new, encoding="utf-8")
    for page in stale:
        print(f"{'stale' if check else 'rewritten'}: {page}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
