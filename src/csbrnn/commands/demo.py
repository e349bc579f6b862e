"""``csbrnn demo``: the whole path on real text, from training to a race against other engines."""

from __future__ import annotations

import copy
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.files import make_directory, write_json, write_text
from csbrnn.lock import locked
from csbrnn.optional import needed_for

with needed_for("the demo", "train"):
    import torch

    from csbrnn.nn import pack
    from csbrnn.patterns import parse_pattern
    from csbrnn.pruning import ADMM, Distillation, Recipe, prune_
    from csbrnn.tasks.char_lm import CharLM, Training, train

from csbrnn.bench import BenchResult, Case, run_bench
from csbrnn.commands.progress import progress_bar
from csbrnn.commands.run import generate, score
from csbrnn.model import PackedModel, load, save
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.text import TextCorpus, language_reference

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

__all__ = ["FULL", "QUICK", "DemoSettings", "run_demo"]


@dataclass(frozen=True)
class DemoSettings:
    """What the demo trains.

    Attributes:
        hidden_size: Units of the LSTM.
        dense_steps: Training steps of the network that both begin with.
        steps: Further steps, for the dense and for the pruned network alike.
        batch: Sequences a step.
        learning_rate: Peak rate of the dense network.
        pruned_learning_rate: Peak rate while pruning; ADMM wants two to three times the dense one.
        pattern: What may survive.
        pruning_rate: Weights before over weights after.
        dropout: Of the LSTM's outputs. The corpus is small: the dense network overfits without.
        pruned_dropout: The same while pruning: fewer weights need less of it.
        bench_seconds: Measuring time.
    """

    hidden_size: int
    dense_steps: int
    steps: int
    batch: int = 32
    learning_rate: float = 4e-3
    pruned_learning_rate: float = 8e-3
    pattern: str = "csb(block=16x64,row_group=16)"
    pruning_rate: float = 8.0
    dropout: float = 0.5
    pruned_dropout: float = 0.1
    bench_seconds: float = 20.0


FULL = DemoSettings(
    hidden_size=512,
    dense_steps=500,
    steps=2200,
    batch=16,
    pruned_learning_rate=1.2e-2,
    pattern="csb(block=8x64,row_group=8)",
)
QUICK = DemoSettings(
    hidden_size=128,
    dense_steps=300,
    steps=700,
    dropout=0.1,
    pruned_dropout=0.0,
    pruning_rate=4.0,
    bench_seconds=4.0,
)

#: Marks a directory as a demo's own, and holds its settings.
_MARKER = "csbrnn-demo.json"
_LOCK = "lock"
#: Our contender on the dense twin of the pruned model.
_DENSE = "csbrnn, dense weights"
#: Largest difference of a logit between engine and PyTorch: fp32 sums of 512 terms in another
#: order, carried through the state over the whole held-out text.
_TOLERANCE = 1e-4
_PROMPT = "The "
_GENERATED = 240


def run_demo(
    settings: DemoSettings, out: Path, console: Console, *, restart: bool = False
) -> dict[str, Any]:
    """Trains, prunes, packs, compiles, checks, benches, generates.

    Args:
        settings: `FULL` or `QUICK`.
        out: Directory for checkpoints, the packed models ``dense`` and ``pruned``, and
            ``result.json``. What an interrupted run left there is gone on from.
        console: Where progress and the table go.
        restart: Delete what is in ``out`` first.

    Returns:
        What ``result.json`` holds.

    Raises:
        ArgumentError: ``out`` holds a run with other settings, or something else.
    """
    began = time.monotonic()
    if out.exists() and not out.is_dir():
        raise ArgumentError(f"{out}: must be a directory, is a file; name another with --out")
    make_directory(out)
    busy = f"{out}: another process runs the demo here; wait for it, or give another --out"
    with locked(out / _LOCK, busy=busy):
        _prepare(out, settings, restart)
        return _run(settings, out, console, began)


def _run(settings: DemoSettings, out: Path, console: Console, began: float) -> dict[str, Any]:
    corpus = TextCorpus.from_text(language_reference())
    console.print(
        f"Python's language reference: {len(corpus.train):,} characters to train on, "
        f"{len(corpus.held_out):,} held out, {len(corpus.vocabulary)} different ones."
    )
    try:
        dense, pruned = _train(settings, corpus, out, console)
    except KeyboardInterrupt:
        console.print("Interrupted. The same command goes on where this one stopped.")
        raise
    models = {}
    for name, module in (("dense", dense), ("pruned", pruned)):
        models[name] = pack(module, metadata={"vocabulary": list(corpus.vocabulary)})
        save(models[name], out / name)

    result: dict[str, Any] = {"settings": asdict(settings)}
    for name, module in (("dense", dense), ("pruned", pruned)):
        result[name] = _measure(load(out / name), module, corpus)
    result["max_abs_error"] = result["pruned"]["max_abs_error"]

    with progress_bar(console, "racing against other engines", 1.0) as report:
        race = run_bench(
            [Case("demo", models["pruned"])],
            threads=(1, 2),
            seconds=settings.bench_seconds,
            modes=("step",),
            progress=lambda text, share: report(share, text),
        )
    _check(result, race)
    result["latency_us"] = _latency(race, 1)
    result["latency_us_by_threads"] = {str(count): _latency(race, count) for count in (1, 2)}
    result["bench"] = race.to_dict()
    result["samples"] = _sample(models, console)
    console.print(_table(result))
    result["seconds"] = time.monotonic() - began
    write_json(out / "result.json", result)
    console.print(
        f"Written: {out / 'result.json'}; packed models: {out / 'dense'}, {out / 'pruned'}"
    )
    return result


def _prepare(out: Path, settings: DemoSettings, restart: bool) -> None:
    """Makes ``out`` ours: new, or left by a run with the same settings."""
    marker = out / _MARKER
    wanted = json.dumps(asdict(settings), indent=2) + "\n"
    ours = marker.is_file()
    if not ours and any(entry.name != _LOCK for entry in out.iterdir()):
        raise ArgumentError(f"{out}: is not empty and not from a demo; name another with --out")
    if ours and restart:
        for name in ("start.pt", "dense.pt", "pruned.pt", "result.json", _MARKER):
            (out / name).unlink(missing_ok=True)
        for name in ("dense", "pruned"):
            shutil.rmtree(out / name, ignore_errors=True)
    elif ours and marker.read_bytes() != wanted.encode():
        raise ArgumentError(
            f"{out}: holds a demo with other settings (--quick or not, or another version); "
            "name another directory with --out, or start again with --restart"
        )
    write_text(marker, wanted)


def _train(
    settings: DemoSettings, corpus: TextCorpus, out: Path, console: Console
) -> tuple[CharLM, CharLM]:
    """Trains one network, then fine-tunes it twice for as many steps: dense, and pruned.

    The dense one comes first: at its end the network is what the pruned one learns from.
    """
    torch.manual_seed(0)
    network = CharLM(len(corpus.vocabulary), settings.hidden_size, dropout=settings.dropout)
    start = Training(
        settings.dense_steps, settings.learning_rate, decay_from=1.0, batch=settings.batch
    )
    with progress_bar(console, "training the dense network", start.steps) as report:
        train(network, corpus, start, checkpoint=out / "start.pt", progress=_bits(report))

    dense = copy.deepcopy(network)
    finish = Training(settings.steps, settings.learning_rate, seed=1, batch=settings.batch)
    with progress_bar(console, "dense, the same number of steps", finish.steps) as report:
        train(dense, corpus, finish, checkpoint=out / "dense.pt", progress=_bits(report))

    pruned = copy.deepcopy(network)
    pruned.dropout.p = settings.pruned_dropout
    half = settings.steps // 2
    pruner = prune_(
        pruned,
        Recipe(
            parse_pattern(settings.pattern),
            pruning_rate=settings.pruning_rate,
            method=ADMM(admm_steps=half, retrain_steps=settings.steps - half),
            distill=Distillation(weight=0.5),
        ),
        teacher=dense,
    )
    finish = replace(finish, learning_rate=settings.pruned_learning_rate)
    with progress_bar(console, "pruning by ADMM, retraining", finish.steps) as report:
        train(
            pruned,
            corpus,
            finish,
            checkpoint=out / "pruned.pt",
            pruner=pruner,
            progress=_bits(report),
        )
    pruner.finalize()
    return dense, pruned


def _measure(model: PackedModel, module: CharLM, corpus: TextCorpus) -> dict[str, Any]:
    """Runs a packed model over the held-out text, beside the PyTorch module it came from.

    The engine's logits are compared with PyTorch's in double precision: PyTorch's own in single
    precision are as far from those, and depend on its backend.
    """
    logits, _ = compile_model(model)(corpus.held_out)
    single = _logits(module, corpus)
    exact = _logits(copy.deepcopy(module).double(), corpus)
    return {
        "bits_per_char": score(logits, corpus.held_out),
        "bits_per_char_pytorch": score(single, corpus.held_out),
        "weights": model.kept_weights,
        "nbytes": model.nbytes,
        "pruning_rate": model.pruning_rate,
        "compression": model.compression,
        "max_abs_error": float(np.abs(logits - exact).max()),
        "max_abs_error_pytorch_fp32": float(np.abs(single - exact).max()),
    }


@torch.no_grad()
def _logits(module: CharLM, corpus: TextCorpus) -> npt.NDArray[np.floating]:
    """Logits over the held-out text, one stream. Shape: (seq_len, vocabulary)."""
    module.eval()
    logits, _ = module(torch.from_numpy(corpus.held_out.astype(np.int64))[:, None])
    array: npt.NDArray[np.floating] = logits[:, 0].numpy()
    return array


def _check(result: dict[str, Any], race: BenchResult) -> None:
    """Refuses to report on an engine that does not compute the network."""
    reasons = [
        f"{skipped.contender} {skipped.variant}: {skipped.reason}"
        for skipped in race.skipped
        if skipped.contender == "csbrnn"
    ]
    if result["max_abs_error"] > _TOLERANCE:
        reasons.append(
            f"logits of the held-out text differ from PyTorch's by {result['max_abs_error']:.1e}, "
            f"which must be at most {_TOLERANCE:.0e}"
        )
    if reasons:
        raise UnsupportedModelError("the engine failed its check; please report this", reasons)


def _latency(race: BenchResult, threads: int) -> dict[str, float]:
    """Contender -> median us a step in fp32, each in its fastest variant."""
    latency: dict[str, float] = {}
    for row in race.rows:
        if (row.precision, row.threads) != ("fp32", threads):
            continue
        ours_dense = row.contender == "csbrnn" and row.layout == "dense"
        name = _DENSE if ours_dense else row.contender
        latency[name] = min(row.median_us, latency.get(name, row.median_us))
    return latency


def _sample(models: dict[str, PackedModel], console: Console) -> dict[str, str]:
    """A few lines from each model."""
    samples = {}
    for name, model in models.items():
        vocabulary = [str(character) for character in model.metadata["vocabulary"]]
        samples[name] = _PROMPT + "".join(
            generate(compile_model(model), vocabulary, _PROMPT, _GENERATED)
        )
        console.rule(f"{name} writes")
        console.print(samples[name], markup=False, highlight=False)
    return samples


def _table(result: dict[str, Any]) -> Table:
    """What it all came to, in one table."""
    from rich.table import Table

    dense, pruned = result["dense"], result["pruned"]
    table = Table(title="Language reference, held-out text (measured)")
    for column in ("", "dense", "pruned", "gain"):
        table.add_column(column, justify="right" if column else "left")
    loss = pruned["bits_per_char"] - dense["bits_per_char"]
    table.add_row(
        "bits per character",
        f"{dense['bits_per_char']:.3f}",
        f"{pruned['bits_per_char']:.3f}",
        f"{loss:+.3f}",
    )
    for key, label in (("weights", "weights"), ("nbytes", "bytes")):
        table.add_row(
            label, f"{dense[key]:,}", f"{pruned[key]:,}", f"{dense[key] / pruned[key]:.1f}x"
        )
    for threads, latency in result["latency_us_by_threads"].items():
        ours = latency["csbrnn"]
        table.add_section()
        table.add_row(f"us a step, {threads} thread(s)", "", f"{ours:.1f}", "")
        for name, median in latency.items():
            if name != "csbrnn":
                table.add_row(f"  {name}", f"{median:.1f}", "", f"{median / ours:.1f}x")
    table.caption = (
        f"Pruning rate {pruned['pruning_rate']:.1f}x in the pruned matrices. Each engine in fp32, "
        "in its fastest variant. "
        f"Largest difference of a logit between engine and PyTorch: {result['max_abs_error']:.1e}."
    )
    return table


def _bits(report: Callable[[float, str], None]) -> Callable[[int, float], None]:
    return lambda step, bits: report(step, f"{bits:.2f} bits/char")
