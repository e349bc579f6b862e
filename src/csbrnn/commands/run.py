"""``csbrnn run``: feed a packed model from text, .npy or standard input, and stream its answers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel
from csbrnn.runtime import Engine
from csbrnn.tasks.text import encode, read_text

__all__ = ["generate", "load_array", "run_model", "score", "stream_lines", "vocabulary_of"]


def run_model(
    model: PackedModel,
    engine: Engine,
    *,
    source: str,
    prompt: str,
    length: int,
    temperature: float,
    seed: int,
    output: Path | None,
) -> dict[str, Any]:
    """Runs a model on what the user named, printing as it goes.

    Args:
        model: The packed model.
        engine: The same, compiled.
        source: A path, ``"-"`` for standard input, or ``""`` for the prompt alone.
        prompt: Text in place of ``source``.
        length: Characters to generate.
        temperature: Of the sampling.
        seed: Of the sampling.
        output: Where all outputs go, as a .npy array.

    Returns:
        What was done, for ``--json``.

    Raises:
        ArgumentError: Source, prompt and model don't go together.
    """
    if source and prompt:
        raise ArgumentError("give an INPUT or a --prompt, not both")
    if not 0 <= temperature < math.inf:
        raise ArgumentError(f"--temperature must be a number, at least 0, not {temperature}")
    vocabulary = vocabulary_of(model)
    if source.endswith(".npy"):
        if length:
            raise ArgumentError("--generate continues a text; an array is run as it is")
        return _run_array(engine, load_array(Path(source)), output)
    if vocabulary is None:
        if prompt or length:
            raise ArgumentError("--prompt and --generate need a model that carries a vocabulary")
        if output is not None:
            raise ArgumentError(
                "--output needs a .npy INPUT; lines are answered on standard output"
            )
        if source not in ("", "-"):
            with _open_text(Path(source)) as lines:
                return {"steps": stream_lines(engine, lines, sys.stdout)}
        return {"steps": stream_lines(engine, sys.stdin, sys.stdout)}
    if source:
        prompt = sys.stdin.read() if source == "-" else read_text(Path(source))
    if not prompt and not length:
        raise ArgumentError("nothing to do: give an INPUT, a --prompt, or --generate N")
    return _run_text(engine, vocabulary, prompt, length, temperature, seed, output)


def _run_array(
    engine: Engine, inputs: npt.NDArray[np.generic], output: Path | None
) -> dict[str, Any]:
    outputs, _ = engine(inputs)
    if output is None:
        np.savetxt(sys.stdout, outputs.reshape(-1, outputs.shape[-1]), fmt="%.9g")
    else:
        _save_array(output, outputs)
    return {"steps": len(outputs), "output_shape": list(outputs.shape)}


def _run_text(
    engine: Engine,
    vocabulary: Sequence[str],
    text: str,
    length: int,
    temperature: float,
    seed: int,
    output: Path | None,
) -> dict[str, Any]:
    result: dict[str, Any] = {"characters": len(text)}
    if len(text) > 1 and (not length or output is not None):
        tokens = encode(text, vocabulary)
        logits, _ = engine(tokens)
        result["bits_per_char"] = score(logits, tokens)
        if output is not None:
            _save_array(output, logits)
    if length:
        pieces = []
        sys.stdout.write(text)
        for character in generate(
            engine, vocabulary, text, length, temperature=temperature, seed=seed
        ):
            pieces.append(character)
            sys.stdout.write(character)
            sys.stdout.flush()
        sys.stdout.write("\n")
        result["generated"] = "".join(pieces)
    elif "bits_per_char" in result:
        print(f"{result['bits_per_char']:.4f} bits per character over {len(text):,} characters")
    return result


def _open_text(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"{path}: can't be read: {error.strerror}") from None


def _save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    try:
        with path.open("wb") as file:
            np.save(file, array, allow_pickle=False)
    except OSError as error:
        raise ArgumentError(f"{path}: can't be written: {error.strerror}") from None


def vocabulary_of(model: PackedModel) -> Sequence[str] | None:
    """The characters which a token model's numbers stand for, where it carries them."""
    vocabulary = model.metadata.get("vocabulary")
    return None if vocabulary is None else [str(character) for character in vocabulary]


def generate(
    engine: Engine,
    vocabulary: Sequence[str],
    prompt: str,
    length: int,
    *,
    temperature: float = 0.7,
    seed: int = 0,
) -> Iterator[str]:
    """Yields characters that a character language model puts after a prompt.

    Args:
        engine: A token model whose output is one logit (or log probability) a character.
        vocabulary: Character of each token.
        prompt: What the model reads first; empty means a line's start.
        length: Characters to yield.
        temperature: Divides the logits before sampling; 0 takes the likeliest character.
        seed: Of the sampling.
    """
    rng = np.random.default_rng(seed)
    tokens = encode(prompt or "\n", vocabulary)
    stream = engine.stream()
    for token in tokens[:-1]:
        stream.step(int(token))
    token = int(tokens[-1])
    for _ in range(length):
        logits = stream.step(token).astype(np.float64)
        logits[0] = -np.inf  # the unknown character is never what was meant
        if temperature > 0:
            # The largest of logits plus Gumbel noise is a sample of their softmax.
            logits = logits / temperature + rng.gumbel(size=logits.shape)
        token = int(np.argmax(logits))
        yield vocabulary[token]


def score(logits: npt.NDArray[np.floating], tokens: npt.NDArray[np.int32]) -> float:
    """Mean bits that a language model needs for each next token.

    Shape:
        logits: (seq_len, vocabulary), after each token. tokens: (seq_len,).
    """
    if len(tokens) < 2:
        raise ArgumentError(f"a score needs at least 2 characters, got {len(tokens)}")
    values = logits[:-1].astype(np.float64)
    largest = values.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(values - largest).sum(axis=1)) + largest[:, 0]
    chosen = values[np.arange(len(values)), tokens[1:]]
    return float((log_sum - chosen).mean() / np.log(2))


def load_array(path: Path) -> npt.NDArray[np.generic]:
    """An array from a .npy file; never unpickles.

    Raises:
        ArgumentError: The file is missing or not a plain array.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArgumentError(f"{path}: can't be read as a .npy array: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"{path}: must be a .npy array, not an .npz archive")
    return array


def stream_lines(engine: Engine, lines: Iterable[str], out: TextIO) -> int:
    """Runs one step a line of numbers, and writes each output before the next line is read.

    Args:
        engine: A model with float features.
        lines: Numbers separated by blanks or commas; empty lines are passed over.
        out: Gets one line of numbers a step.

    Returns:
        Steps run.

    Raises:
        ArgumentError: A line has another count of numbers, or something that is no number.
    """
    width = engine.program.streams["input"].width
    stream = engine.stream()
    steps = 0
    for number, line in enumerate(lines, start=1):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        try:
            values = np.array([float(field) for field in fields], np.float32)
        except ValueError as error:
            raise ArgumentError(f"standard input, line {number}: {error}") from None
        if len(values) != width:
            raise ArgumentError(
                f"standard input, line {number}: the model takes {width} numbers a step, "
                f"got {len(values)}"
            )
        out.write(" ".join(f"{value:.9g}" for value in stream.step(values)) + "\n")
        out.flush()
        steps += 1
    return steps
