"""What ADMM costs: the time of a training step with it, over the time of a dense one.

Two equal character models train side by side, step by step in turns, so that whatever else the
machine does hits both alike. ADMM's projection runs once in an interval; a window is one interval,
and its time is the sum of its steps. Measured; written as JSON:

    python benchmarks/admm_overhead.py --out admm_overhead.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import csbrnn
from csbrnn.bench.environment import describe_environment

VOCABULARY = 96


class CharModel(nn.Module):
    """Embedding, LSTM, linear."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.lstm = nn.LSTM(64, hidden_size)
        self.output = nn.Linear(hidden_size, VOCABULARY)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits; tokens (seq_len, batch)."""
        return self.output(self.lstm(self.embedding(tokens))[0])


class Trainer:
    """A model, its optimizer, and perhaps a pruner."""

    def __init__(self, hidden_size: int, recipe: csbrnn.Recipe | None) -> None:
        torch.manual_seed(0)
        self.model = CharModel(hidden_size)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=4e-3)
        self.pruner = None if recipe is None else csbrnn.prune_(self.model, recipe)

    def step(self, tokens: torch.Tensor) -> float:
        """Trains one step; returns its seconds."""
        start = time.perf_counter()
        logits = self.model(tokens[:-1])
        loss = cross_entropy(logits.flatten(0, 1), tokens[1:].flatten())
        if self.pruner is not None:
            loss = self.pruner.loss(loss)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        if self.pruner is not None:
            self.pruner.step()
        return time.perf_counter() - start


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Runs all windows; returns the result."""
    torch.set_num_threads(args.threads)
    interval, warmup = args.interval, 3
    steps = warmup + args.windows * interval
    method = csbrnn.ADMM(steps + 1, 0, interval=interval)
    recipe = csbrnn.Recipe(args.pattern, pruning_rate=8, method=method)
    trainers = {"dense": Trainer(args.hidden_size, None), "admm": Trainer(args.hidden_size, recipe)}
    generator = torch.Generator().manual_seed(1)
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(steps):
        tokens = torch.randint(0, VOCABULARY, (args.seq_len + 1, args.batch), generator=generator)
        for name, trainer in trainers.items():
            seconds[name].append(trainer.step(tokens))
    windows = {
        name: [
            sum(times[start : start + interval]) / interval
            for start in range(warmup, steps, interval)
        ]
        for name, times in seconds.items()
    }
    trainers["admm"].pruner.detach()
    ratios = [a / d for a, d in zip(windows["admm"], windows["dense"], strict=True)]
    return {
        "what": "training step with ADMM over a dense one, projection included",
        "kind": "measured",
        "settings": vars(args) | {"out": None, "pattern": str(recipe.pattern)},
        "dense_ms": 1e3 * statistics.median(windows["dense"]),
        "admm_ms": 1e3 * statistics.median(windows["admm"]),
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "environment": describe_environment(),
    }


def main() -> None:
    """Reads the arguments, measures, writes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hidden-size", type=int, default=512)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seq-len", type=int, default=64)
    parser.add_argument("--pattern", default="csb(block=16x64,row_group=16)")
    parser.add_argument("--interval", type=int, default=20)
    parser.add_argument("--windows", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    result = measure(args)
    text = json.dumps(result, indent=1) + "\n"
    if args.out is not None:
        args.out.write_text(text)
    print(text if args.out is None else f"{result['ratio']:.3f} times a dense step: {args.out}")


if __name__ == "__main__":
    main()
