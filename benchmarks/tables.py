"""Rewrites the tables of README.md and docs/ from the committed result files.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; what is between is replaced.

    python benchmarks/tables.py            # rewrite
    python benchmarks/tables.py --check    # exit with 1 if anything would change
    python benchmarks/tables.py --goals    # print each goal of the engine, and what was reached
    python benchmarks/tables.py --measure  # first run every benchmark anew: half an hour, alone
    python benchmarks/tables.py --measure sr mt    # or some of them
    python benchmarks/tables.py --machine sapphire_rapids --goals    # of another machine
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from csbrnn.bench.goals import reached
from csbrnn.bench.markdown import case_markdown, goals_markdown, peers_markdown
from csbrnn.markdown import markdown_table
from csbrnn.report import grid_markdown, no_loss_markdown, read_study
from csbrnn.report.hardware import (
    fixed_point_markdown,
    patterns_markdown,
    synthesis_markdown,
    utilization_markdown,
)

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def demo() -> str:
    """The README's table: what ``csbrnn demo`` measured."""
    result = _read(RESULTS / "demo.json")
    dense, pruned = result["dense"], result["pruned"]
    settings, environment = result["settings"], result["bench"]["environment"]
    before, after = dense["bits_per_char"], pruned["bits_per_char"]
    loss = f"{after - before:+.3f}"
    rows = [["bits per character, held-out text", f"{before:.3f}", f"{after:.3f}", loss]]
    for key, label in (("weights", "weights"), ("nbytes", "bytes")):
        gain = f"{dense[key] / pruned[key]:.1f}x"
        rows.append([label, f"{dense[key]:,}", f"{pruned[key]:,}", gain])
    for threads, latency in result["latency_us_by_threads"].items():
        ours = latency["csbrnn"]
        where = f"us a step, {threads} thread{'s' * (threads != '1')}"
        for name, median in latency.items():
            if name == "csbrnn":
                rows.append([f"{where}: **csbrnn**", "", f"**{ours:.1f}**", ""])
            else:
                rows.append([f"{where}: {name}", f"{median:.1f}", "", f"{median / ours:.1f}x"])
    table = markdown_table(
        ["", "dense", "pruned", "gain"],
        rows,
        "lr",
        f"`csbrnn demo`: an LSTM of {settings['hidden_size']} units on Python's language "
        f"reference, *measured* on {environment['cpu']}, fp32, each engine at its fastest:",
    )
    return (
        f"{table}\n\nThe pruned matrices keep one weight in {pruned['pruning_rate']:.1f}. Engine "
        f"and PyTorch differ by at most {result['max_abs_error']:.0e} in any logit."
    )


_STRIPES = tuple(f"block={n}x64 row_group={n}" for n in (16, 8, 4, 2, 1))
_WHOLE = "block=8x4 row_group=8 all-or-nothing"
_FREE = "block=64x64 row_group=1"

RUNS: dict[str, tuple[tuple[str, ...], float]] = {
    "sr": ((*_STRIPES, _FREE, _WHOLE), 190.0),
    "mt": ((*_STRIPES, _FREE, _WHOLE), 200.0),
    "gru512": ((*_STRIPES, _FREE, _WHOLE), 150.0),
    "small16": ((), 40.0),
    "small64": ((), 40.0),
}
"""Case -> layouts, and seconds of measuring. Ours: some thirty turns for everyone."""

MACHINES = {"zen4": "Zen 4", "sapphire_rapids": "Sapphire Rapids"}
"""Folder of ``benchmarks/results`` -> machine. The first is that of all tables but the goals'."""
FIRST = next(iter(MACHINES))


def bench(case: str) -> str:
    """A page's table of one case: what ``csbrnn bench CASE`` measured."""
    path = _bench_file(case)
    if not path.exists():
        return f"Not measured yet: `python benchmarks/tables.py --measure {case}`."
    return case_markdown(_read(path))


def goals() -> str:
    """The engine's goals, and what was reached on each machine."""
    return goals_markdown({name: _benches(machine) for machine, name in MACHINES.items()})


def peers(machine: str) -> str:
    """A table of engines at their best on one machine."""
    return peers_markdown(_benches(machine))


STUDIES = ("char_lm", "char_long", "digits", "digits_long")
"""Recipes in ``studies/`` whose results are committed as ``study_NAME.json``."""


def study(name: str) -> str:
    """A page's tables of one study: what ``csbrnn study studies/NAME.toml`` found."""
    path = RESULTS / f"study_{name}.json"
    if not path.exists():
        return f"Not run yet: `csbrnn study studies/{name}.toml`."
    result = read_study(_read(path))
    parts = [no_loss_markdown(result), grid_markdown(result)]
    if (ROOT / "docs" / "pictures" / f"{name}.png").exists():
        parts.append(f"![Accuracy against rate, bits, time and bytes](pictures/{name}.png)")
    return "\n\n".join(parts)


def levers() -> str:
    """What one setting or another does to a result: ``csbrnn study studies/char_levers.toml``."""
    return grid_markdown(read_study(_read(RESULTS / "study_char_levers.json")))


HARDWARE = {
    "utilization": utilization_markdown,
    "patterns": patterns_markdown,
    "fixed_point": fixed_point_markdown,
}


def accelerator(name: str) -> str:
    """A table of what ``benchmarks/accelerator.py`` modelled and simulated."""
    path = RESULTS / "accelerator.json"
    if not path.exists():
        return "Not modelled yet: `python benchmarks/accelerator.py`."
    return HARDWARE[name](_read(path))


def synthesis() -> str:
    """A table of what ``benchmarks/synthesis.py`` found."""
    path = RESULTS / "synthesis.json"
    if not path.exists():
        return "Not synthesized yet: `python benchmarks/synthesis.py`."
    return synthesis_markdown(_read(path))


TABLES: dict[str, Callable[[], str]] = (
    {"demo": demo, "goals": goals, "synthesis": synthesis, "levers": levers}
    | {f"peers_{machine}": partial(peers, machine) for machine in MACHINES}
    | {f"bench_{case}": partial(bench, case) for case in RUNS}
    | {f"study_{name}": partial(study, name) for name in STUDIES}
    | {f"accelerator_{name}": partial(accelerator, name) for name in HARDWARE}
)


def measure(cases: list[str], machine: str) -> None:
    """Runs benchmarks and writes their result files."""
    from rich.console import Console

    from csbrnn.bench import CONTENDERS, MODES
    from csbrnn.commands.bench import bench_model

    for case in cases:
        layouts, seconds = RUNS[case]
        result = bench_model(
            case,
            layouts=layouts,
            precisions=(),
            contenders=tuple(CONTENDERS),
            threads=(1, 2),
            modes=MODES,
            seconds=seconds,
            console=Console(),
        )
        text = json.dumps(result, indent=1) + "\n"
        path = _bench_file(case, machine)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _bench_file(case: str, machine: str = FIRST) -> Path:
    return RESULTS / machine / f"bench_{case}.json"


def _benches(machine: str) -> list[dict[str, Any]]:
    return [_read(path) for case in RUNS if (path := _bench_file(case, machine)).exists()]


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def main() -> int:
    """Rewrites, or checks; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing")
    parser.add_argument("--goals", action="store_true", help="print the engine's goals and stop")
    parser.add_argument(
        "--measure", nargs="*", choices=tuple(RUNS), metavar="CASE", help="run benchmarks first"
    )
    parser.add_argument(
        "--machine", choices=tuple(MACHINES), default=FIRST, help="where this is, or was, measured"
    )
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure or list(RUNS), arguments.machine)
    if arguments.goals:
        print("\n".join(entry.line for entry in reached(_benches(arguments.machine))))
        return 0
    check = arguments.check
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
