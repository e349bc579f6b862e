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
    lines = [
        f"`csbrnn demo`: an LSTM of {settings['hidden_size']} units on Python's language "
        f"reference, *measured* on {environment['cpu']}, fp32, each engine at its fastest:",
        "",
        "| | dense | pruned | gain |",
        "|---|---:|---:|---:|",
        f"| bits per character, held-out text | {dense['bits_per_char']:.3f} "
        f"| {pruned['bits_per_char']:.3f} "
        f"| {pruned['bits_per_char'] - dense['bits_per_char']:+.3f} |",
    ]
    for key, label in (("weights", "weights"), ("nbytes", "bytes")):
        gain = dense[key] / pruned[key]
        lines.append(f"| {label} | {dense[key]:,} | {pruned[key]:,} | {gain:.1f}x |")
    for threads, latency in result["latency_us_by_threads"].items():
        ours = latency["csbrnn"]
        where = f"us a step, {threads} thread{'s' * (threads != '1')}"
        for name, median in latency.items():
            if name == "csbrnn":
                lines.append(f"| {where}: **csbrnn** | | **{ours:.1f}** | |")
            else:
                lines.append(f"| {where}: {name} | {median:.1f} | | {median / ours:.1f}x |")
    lines += [
        "",
        f"The pruned matrices keep one weight in {pruned['pruning_rate']:.1f}. Engine and PyTorch "
        f"differ by at most {result['max_abs_error']:.0e} in any logit.",
    ]
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
