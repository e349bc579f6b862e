"""``csbrnn run``: feed a packed model from text, .npy or standard input, and stream its answers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import numpy.typing as npt

from csbrnn.commands.vocabulary import NO_VOCABULARY, check_predicts, predicts, vocabulary_of
from csbrnn.errors import ArgumentError
from csbrnn.files import make_directory, replace_file
from csbrnn.model import Features, PackedModel
from csbrnn.runtime import Engine
from csbrnn.tasks.text import encode, read_text

__all__ = ["generate", "load_array", "run_model", "score", "stream_lines"]

_MOST_CHARACTERS: Final = 64
"""Of a number in a line, blanks around it included. Ours: floats have 25 at most."""


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
        return _run_array(engine, load_array(Path(source), model), output)
    if vocabulary is None:
        if prompt or length:
            raise ArgumentError(f"--prompt and --generate are text, and {NO_VOCABULARY}")
        if output is not None:
            raise ArgumentError(
                "--output needs a .npy INPUT; lines are answered on standard output"
            )
        if source not in ("", "-"):
            with _open_text(Path(source)) as lines:
                return {"steps": stream_lines(engine, lines, sys.stdout, source)}
        return {"steps": stream_lines(engine, sys.stdin, sys.stdout, "standard input")}
    if source:
        prompt = _read_stdin() if source == "-" else read_text(Path(source))
    if not prompt and not length:
        raise ArgumentError("nothing to do: give an INPUT, a --prompt, or --generate N")
    return _run_text(model, engine, vocabulary, prompt, length, temperature, seed, output)


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
    model: PackedModel,
    engine: Engine,
    vocabulary: Sequence[str],
    text: str,
    length: int,
    temperature: float,
    seed: int,
    output: Path | None,
) -> dict[str, Any]:
    result: dict[str, Any] = {"characters": len(text)}
    if length or output is None:
        check_predicts(model)
    if len(text) == 1 and not length and output is None:
        raise ArgumentError("a score needs at least 2 characters; --generate N continues a text")
    if output is not None and not text:
        raise ArgumentError("--output gets what follows each character: give an INPUT or --prompt")
    if output is not None or (len(text) > 1 and not length):
        tokens = encode(text, vocabulary)
        logits, _ = engine(tokens)
        if len(text) > 1 and predicts(model):
            result["bits_per_char"] = score(logits, tokens)
            result["unknown"] = sum(character not in vocabulary for character in text)
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
        unknown = f", {result['unknown']:,} of them unknown" if result["unknown"] else ""
        bits = result["bits_per_char"]
        print(f"{bits:.4f} bits per character over {len(text):,} characters{unknown}")
    return result


def _read_stdin() -> str:
    try:
        text = sys.stdin.read()
        text.encode("utf-8")  # undecodable bytes may come as lone surrogates
    except UnicodeError:
        raise ArgumentError("standard input: must be UTF-8 text, and is not") from None
    return text


def _open_text(path: Path) -> TextIO:
    try:
        return path.open(encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"{path}: can't be read: {error.strerror}") from None


def _save_array(path: Path, array: npt.NDArray[np.generic]) -> None:
    def write(file: Path) -> None:
        with file.open("wb") as stream:  # np.save would add .npy to a name that lacks it
            np.save(stream, array, allow_pickle=False)

    make_directory(path.parent)
    replace_file(path, write)


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
            with np.errstate(over="ignore"):  # infinite where the temperature is next to none
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


def load_array(path: Path, model: PackedModel) -> npt.NDArray[Any]:
    """A sequence for a model from a .npy file; never unpickles.

    Shape:
        returns: (steps, features), float32; of tokens, (steps,).

    Raises:
        ArgumentError: The file is missing, not a plain array, or of another shape.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArgumentError(f"{path}: can't be read as a .npy array: {error}") from None
    if not isinstance(array, np.ndarray):
        raise ArgumentError(f"{path}: must be a .npy array, not an .npz archive")
    features = isinstance(model.input, Features)
    if array.ndim != (2 if features else 1) or not len(array):
        shape = "(steps, features)" if features else "(steps,), of tokens"
        raise ArgumentError(
            f"{path}: must have the shape {shape}, and one step at least, but has {array.shape}: a"
            " single sequence, without an axis for a batch"
        )
    if not features or array.dtype.kind != "f":
        return array
    with np.errstate(over="ignore"):  # as the engine rounds what it is given
        return array.astype(np.float32)


def stream_lines(engine: Engine, lines: TextIO, out: TextIO, source: str) -> int:
    """Runs one step a line of numbers, and writes each output before the next line is read.

    Args:
        engine: The model.
        lines: Numbers separated by blanks or commas, or a token each; empty lines are passed over.
        out: Gets one line of numbers a step.
        source: What the lines are of, for messages.

    Returns:
        Steps run.

    Raises:
        ArgumentError: A line has another count of numbers, or something that is no number.
    """
    given = engine.program.streams["input"]
    tokens = given.dtype == "int32"
    stream = engine.stream()
    steps = 0
    longest = _MOST_CHARACTERS * (given.width + 1)
    for number, line in _numbered(lines, source, longest):
        fields = line.replace(",", " ").split()
        if not fields:
            continue
        where = f"{source}, line {number}"
        try:
            values = np.array([int(f) if tokens else float(f) for f in fields])
            fits = not tokens or bool(((values >= 0) & (values < given.bound)).all())
        except (ValueError, OverflowError):
            what = "an integer" if tokens else "numbers"
            raise ArgumentError(f"{where}: must be {what}, not {line.strip()[:60]!a}") from None
        if len(values) != given.width or not fits:
            what = f"a token, 0..{given.bound - 1}" if tokens else f"{given.width} numbers"
            got = " ".join(fields)[:60] if tokens else len(values)
            raise ArgumentError(f"{where}: the model takes {what} a step, got {got}")
        with np.errstate(over="ignore"):  # as infinite as float32 has it
            y = stream.step(int(values[0]) if tokens else values.astype(np.float32))
        out.write(" ".join(f"{value:.9g}" for value in y) + "\n")
        out.flush()
        steps += 1
    return steps


def _numbered(lines: TextIO, source: str, longest: int) -> Iterator[tuple[int, str]]:
    number = 0
    try:
        while line := lines.readline(longest + 1):
            number += 1
            if len(line) > longest:
                raise ArgumentError(
                    f"{source}, line {number}: must have at most {longest} characters, a line of"
                    " numbers for each step"
                )
            yield number, line
    except UnicodeDecodeError:
        raise ArgumentError(
            f"{source}, line {number + 1}: must be lines of numbers, and is no text; arrays must be"
            " in files that end in .npy"
        ) from None
