"""Mutated packed models: each must load to a model that works, or be refused with our own error.

As a script: ``python -m tests.model.fuzz --count 100000 --seed 7``. Another executor is fuzzed by
passing `run_fuzz` a ``check`` of its own.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csbrnn.errors import FormatError
from csbrnn.model import Features, PackedModel, load, run_reference, save, verify

from .models import MODELS

NASTY = [
    *(-1, 0, 1, 2, 3, 7, 8, 2**24, 2**24 + 1, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, -(2**63)),
    *(0.0, -0.5, 1.5, 1e300, True, False, None, "", "input", "a/b", "..", "\0", "x" * 300, "𝄞"),
    *([], {}, [[]], [0], [0, 0], {"": 0}),
    *("csb", "dense", "vector", "all", "flags", "bitmap", "list", "gaps"),
    *("U8", "F32", "F16", "BF16", "I8"),
    *("csr", "sparse_banks", "bsr", "block_circulant", 16, 4096, 4097),
    *("fp32", "bf16", "int8", 2.0**-126, 2.0**-7, 1e37),
]
RAW = [
    *("NaN", "Infinity", "-Infinity", "1e400", "-1e999", "1" * 5000),
    *('"\\ud800"', "[" * 9000, "tru"),
]


@dataclass(frozen=True)
class Mutant:
    """The two files of a model that someone may have made, and how."""

    what: str
    config: bytes
    tensors: bytes


def originals(directory: Path) -> list[Mutant]:
    found = []
    for name, build in MODELS.items():
        save(build(), directory / name)
        config, tensors = (
            (directory / name / file).read_bytes() for file in ("config.json", "model.safetensors")
        )
        found.append(Mutant(name, config, tensors))
    return found


def mutants(sources: list[Mutant], count: int, seed: int) -> Iterator[Mutant]:
    for i in range(count):
        rng = random.Random(f"{seed}/{i}")
        mutant = rng.choice(sources)
        for _ in range(1 if rng.random() < 0.8 else 2):
            mutate = rng.choice(MUTATIONS)
            config, tensors = mutate(rng, mutant.config, mutant.tensors)
            mutant = Mutant(f"{mutant.what}, {mutate.__name__}", config, tensors)
        yield Mutant(f"#{seed}/{i} {mutant.what}", mutant.config, mutant.tensors)


def flip_config(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    return _flip(rng, config), tensors


def flip_tensors(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    return config, _flip(rng, tensors)


def cut(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    if rng.random() < 0.3:
        return config[: rng.randrange(len(config) + 1)], tensors
    return config, tensors[: rng.randrange(len(tensors) + 1)]


def splice(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    """Insert, remove or repeat a run of bytes."""
    data = config if rng.random() < 0.3 else tensors
    if not data:
        return config, tensors
    i, n = rng.randrange(len(data)), rng.choice((1, 4, 8, 100))
    middle = rng.choice((rng.randbytes(n), b"", data[i : i + n] * 2, b"\xff" * n))
    spliced = data[:i] + middle + data[i + n :]
    return (spliced, tensors) if data is config else (config, spliced)


def edit_config(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    return _edit(rng, config), tensors


def edit_header(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(tensors[:8], "little")
    header = _edit(rng, tensors[8 : 8 + size])
    header += b" " * (-len(header) % 8)
    return config, len(header).to_bytes(8, "little") + header + tensors[8 + size :]


def swap_tensors(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    size = int.from_bytes(tensors[:8], "little")
    try:
        header = json.loads(tensors[8 : 8 + size])
        a, b = rng.sample(sorted(header), 2)
    except (ValueError, TypeError, RecursionError):
        return config, tensors
    header[a], header[b] = header[b], header[a]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return config, len(text).to_bytes(8, "little") + text + tensors[8 + size :]


def overwrite_data(rng: random.Random, config: bytes, tensors: bytes) -> tuple[bytes, bytes]:
    start = 8 + int.from_bytes(tensors[:8], "little")
    if start >= len(tensors):
        return config, tensors
    i = rng.randrange(start, len(tensors))
    nan, huge = np.float32("nan").tobytes(), np.float32(3e38).tobytes()
    filler = rng.choice((b"\0", b"\xff", b"\x80", nan, huge, rng.randbytes(16))) * rng.choice(
        (1, 4, 64)
    )
    filler = filler[: len(tensors) - i]
    return config, tensors[:i] + filler + tensors[i + len(filler) :]


MUTATIONS: list[Callable[[random.Random, bytes, bytes], tuple[bytes, bytes]]] = [
    flip_config,
    flip_tensors,
    cut,
    splice,
    *[edit_config] * 5,
    *[edit_header] * 2,
    swap_tensors,
    overwrite_data,
]


def _flip(rng: random.Random, data: bytes) -> bytes:
    flipped = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if data else 0):
        flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def _edit(rng: random.Random, text: bytes) -> bytes:
    """Change one value of JSON text: its type, size, place, or existence."""
    try:
        tree = [json.loads(text)]
    except (ValueError, RecursionError):
        return text
    places = list(_places(tree))
    container, key = rng.choice(places)
    value, raw = container[key], None
    action = rng.randrange(8)
    if action == 0:
        container[key] = rng.choice(NASTY)
    elif action == 1:
        raw = rng.choice(RAW)
    elif action == 2 and len(places) > 1:
        del container[key]
    elif action == 3 and isinstance(value, dict) and value:
        twice = rng.choice(sorted(value))
        raw = json.dumps(value)[:-1] + f", {json.dumps(twice)}: {json.dumps(value[twice])}}}"
    elif action == 4 and isinstance(value, dict):
        value[rng.choice(("extra", "dtype", "format", ""))] = rng.choice(NASTY)
    elif action == 5:
        other, other_key = rng.choice(places)
        container[key] = copy.deepcopy(other[other_key])
    elif isinstance(value, str):
        i = rng.randrange(len(value) + 1)
        middle = rng.choice(("", "_", "(", "-" * 200, "\n", "0"))
        container[key] = value[:i] + middle + value[i + 1 :]
    elif isinstance(value, int):
        container[key] = rng.choice((value + 1, value - 1, value * 2, -value, value + 2**32))
    elif isinstance(value, list) and value:
        container[key] = rng.choice((value * 2, value[1:], value[::-1], value * 400))
    if raw is None:
        return json.dumps(tree[0] if tree else None).encode()
    container[key] = "@raw@"
    return json.dumps(tree[0]).replace('"@raw@"', raw).encode()


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from _places(tree[key])


def check_reference(model: PackedModel) -> None:
    """One step of the reference interpreter."""
    if isinstance(model.input, Features):
        xs = np.ones((1, model.input.size))
    else:
        xs = np.array([model.input.vocabulary - 1])
    ys, _ = run_reference(model, xs)
    assert ys.shape == (1, model.output_size)


def run_fuzz(
    count: int, seed: int, check: Callable[[PackedModel], None] = check_reference
) -> Counter[str]:
    """Load ``count`` mutants; check those that load; return how many did, and the refusals.

    Raises:
        AssertionError: A mutant raised anything but `FormatError`, from its original exception.
    """
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("error")
        directory = Path(name)
        for mutant in mutants(originals(directory), count, seed):
            (directory / "config.json").write_bytes(mutant.config)
            # A new file each time: the last one may still be mapped.
            (directory / "model.safetensors").unlink(missing_ok=True)
            (directory / "model.safetensors").write_bytes(mutant.tensors)
            try:
                model = _load(directory)
                if model is None:
                    outcomes["refused"] += 1
                    continue
                verify(model)
                check(model)
                outcomes["loaded"] += 1
            except Exception as error:
                raise AssertionError(f"{mutant.what}: {error!r}") from error
    return outcomes


def _load(directory: Path) -> PackedModel | None:
    try:
        return load(directory)
    except FormatError as error:
        # A refusal names the file, in one short message of printable text.
        message = str(error)
        if not message.startswith(str(directory)) or len(message) > 20_000:
            raise AssertionError(f"a poor message: {message[:1000]}") from error
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(dict(run_fuzz(options.count, options.seed)))


if __name__ == "__main__":
    main()
