"""What the accelerator reaches, as Markdown, from result files of ``benchmarks/``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csbrnn.markdown import markdown_table

__all__ = [
    "fixed_point_markdown",
    "patterns_markdown",
    "synthesis_markdown",
    "utilization_markdown",
]

_CASES = {
    "sr": "SR: LSTM 2 x 1024, 13.5x",
    "mt": "MT: LSTM 2 x 1500, 12x",
    "small": "LSTM 96 from 40 inputs, 4x",
}
_FPGAS = {"ecp5": "ECP5", "xilinx": "UltraScale+"}


def utilization_markdown(result: Mapping[str, Any]) -> str:
    """Cycles and utilization of the papers' networks, our engine beside others."""
    rows = []
    for row in result["rows"]:
        if row["pattern"] != "csb" or "lane" in row["arch"]:
            continue
        group = row["row_group"]
        kept = "free rows" if group == 1 else f"row groups of {group}"
        if row["block"].startswith(f"{group}x"):
            kept = f"stripes of {group} rows"
        others = row.get("baselines")
        lock_step = unbalanced = ""
        if others:
            unbalanced = _share(others["unbalanced"]["utilization"])
            lock_step = " / ".join(
                _share(others[name]["utilization"])
                for name in ("lock_step", "lock_step_neighbours")
            )
        rows.append(
            [
                f"{_CASES[row['case']]}, {row['pes']}",
                f"{row['block']}, {kept}",
                f"{row['cycles']:,.0f}",
                f"{row['latency_cycles']:,}",
                f"**{_share(row['utilization'])}**",
                _share(row["goal"]),
                unbalanced,
                lock_step,
            ]
        )
    return markdown_table(
        [
            *("network, PEs", "blocks", "cycles", "alone", "utilization", "aim", "unbalanced"),
            "lock step: none / neighbours",
        ],
        rows,
        "llr",
        "Whole steps in the steady state, all element-wise work included; random CSB matrices. "
        "Modelled: the cycle model, which the RTL equals.",
    )


def patterns_markdown(result: Mapping[str, Any]) -> str:
    """The papers' patterns on one engine."""
    rows = []
    names = {"blocks": "block sparsity, {}", "banks": "bank-balanced, 4 of 54", "csb": "CSB {}"}
    for row in result["rows"]:
        one_lane = "lane" in row["arch"]
        if row["case"] != "sr" or row["pes"] != 256 or (row["pattern"] == "csb" and not one_lane):
            continue
        name = names[row["pattern"]].format(row["block"])
        if row["pattern"] == "csb":
            name += ", free rows"
        lanes = "16 x 1" if one_lane else "8 x 2"
        rows.append([name, lanes, f"{row['cycles']:,.0f}", _share(row["utilization"])])
    return markdown_table(
        ["pattern", "streams x lanes of a group", "cycles", "utilization"],
        rows,
        "llr",
        "SR at 13.5x on 256 PEs, modelled. An index is shared by the lanes of a stream: "
        "bank-balanced rows, which share no columns, need streams of one lane, at twice the index "
        "bits and copies of x.",
    )


def fixed_point_markdown(result: Mapping[str, Any]) -> str:
    """What fixed point costs on the demo's networks."""
    if "demo" not in result:
        return "Not simulated yet: `python benchmarks/accelerator.py --demo csbrnn-demo`."
    pruned = result["demo"]["pruned"]
    rows = []
    for name, row in result["demo"].items():
        losses = [f"{row[fixed] - row['fp32']:+.5f}" for fixed in ("fixed16", "fixed12")]
        rows.append([name, f"{row['fp32']:.4f}", *losses])
    table = markdown_table(
        ["bits per character", "fp32", "16-bit weights", "12-bit weights"],
        rows,
        "lr",
        f"`csbrnn demo`'s networks over {pruned['characters']:,} characters of held-out text, "
        "rounded after training, without fine-tuning. Simulated.",
    )
    reached = [
        f"{pruned[arch]['cycles']:,.0f} cycles on {pruned[arch]['pes']} PEs (utilization "
        f"{_share(pruned[arch]['utilization'])})"
        for arch in ("pe64", "pe256")
    ]
    return f"{table}\n\nA step of the pruned network takes {' and '.join(reached)}, modelled."


def synthesis_markdown(result: Mapping[str, Any]) -> str:
    """What engines take on FPGAs, and how long a step is there."""
    rows = []
    for row in result["rows"]:
        cells, step = row["resources"], row["step"]
        memories = f"{cells['block_ram']:,}"
        if cells.get("ultra_ram"):
            memories += f" + {cells['ultra_ram']:,} UltraRAMs"
        clock = f"{step['clock_mhz']:.0f}, assumed"
        if placed := row.get("place_and_route"):
            seeds = len(placed["fmax_mhz_by_seed"])
            luck = f"best of {seeds}; median {placed['fmax_median_mhz']:.1f}"
            clock = f"**{placed['fmax_mhz']:.1f}**, {luck if seeds > 1 else 'one seed'}"
        rows.append(
            [
                f"{row['pes']}, {_FPGAS[row['family']]}",
                *(f"{cells['lut']:,}", f"{cells['ff']:,}", memories, f"{cells['dsp']:,}"),
                *(clock, _CASES[row["network"]]),
                *(f"{step['cycles']:,.0f}", f"{step['us_per_step']:.1f}"),
                f"{step['gops_effective']:.1f} / {step['gops_dense_equivalent']:.1f}",
                f"{row['energy']['total_nj'] / 1000:.2f}",
            ]
        )
    table = markdown_table(
        [
            *("PEs, FPGA", "LUTs", "FFs", "block RAMs", "multipliers", "MHz", "network", "cycles"),
            *("us a step", "GOPS: effective / as if dense", "uJ a step"),
        ],
        rows,
        "lrrrrllr",
        "Cells: measured by Yosys. Clock: measured by nextpnr where seeds of its placer are "
        "counted, else assumed. Times and energy: modelled; energy for an ASIC's arithmetic and "
        "memories at 45 nm.",
    )
    tools = {text for row in result["rows"] for text in row["tools"].values()}
    return f"{table}\n\nTools: {'; '.join(sorted(tools))}."


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
