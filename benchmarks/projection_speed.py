"""How long a projection takes: 10 million weights on one thread, each pattern. Measured.

python benchmarks/projection_speed.py --out projection_speed.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from csbrnn.bench.environment import describe_environment
from csbrnn.patterns import parse_pattern

#: Pattern -> most seconds it may take; None where there is no goal.
GOALS: dict[str, float | None] = {
    "csb(block=64x64)": 0.5,
    "csb(block=32x32)": None,
    "csb(block=64x64,row_group=16)": None,
    "csb(block=16x64,row_group=16)": 0.1,
    "csb(block=8x64,row_group=8)": 0.1,
    "csb(block=4x64,row_group=4)": 0.1,
    "unstructured": None,
    "block(block=16x16)": None,
    "bank_balanced": None,
}


def measure(repeats: int) -> dict[str, object]:
    """Times every pattern on an LSTM's gates of about 10M weights: (4 * 1600, 1600)."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    weight = torch.randn(6400, 1600) * torch.rand(6400, 1).pow(2) * torch.rand(1, 1600)
    seconds = {}
    for text in GOALS:
        pattern = parse_pattern(text)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            pattern.project(weight, 0.125)
            times.append(time.perf_counter() - start)
        seconds[text] = times
    return {
        "what": f"seconds to project {weight.numel():,} weights to a density of 1/8, one thread",
        "kind": "measured",
        "median_s": {text: statistics.median(times) for text, times in seconds.items()},
        "best_s": {text: min(times) for text, times in seconds.items()},
        "goal_s": GOALS,
        "repeats": repeats,
        "environment": describe_environment(),
    }


def main() -> None:
    """Reads the arguments, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = measure(args.repeats)
    if args.out is None:
        print(json.dumps(result, indent=1))
    else:
        args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
