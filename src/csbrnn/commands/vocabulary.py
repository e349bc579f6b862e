"""The characters that a token model's numbers stand for, in its metadata and in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from csbrnn.errors import ArgumentError
from csbrnn.files import load_json
from csbrnn.model import PackedModel, Tokens

__all__ = [
    "NO_VOCABULARY",
    "check_predicts",
    "check_vocabulary",
    "predicts",
    "read_vocabulary",
    "vocabulary_of",
]

NO_VOCABULARY = (
    "the model carries no vocabulary; `csbrnn pack --vocabulary FILE` gives it one, and so does"
    ' csbrnn.pack(..., metadata={"vocabulary": [...]})'
)
"""What to say where text is given to a model that can't read it."""


def vocabulary_of(model: PackedModel) -> Sequence[str] | None:
    """The characters which a token model's numbers stand for, where it carries them."""
    vocabulary = model.metadata.get("vocabulary")
    return None if vocabulary is None else [str(character) for character in vocabulary]


def check_vocabulary(model: PackedModel, path: Path) -> None:
    """Checks that a model's vocabulary, read from a file, is one of its tokens.

    Raises:
        ArgumentError: The model reads no tokens, or has another number of them.
    """
    if not isinstance(model.input, Tokens):
        raise ArgumentError(
            f"{path}: a vocabulary is for models that read tokens; this one reads"
            f" {model.input.size} features a step"
        )
    if len(found := vocabulary_of(model) or ()) != model.input.vocabulary:
        raise ArgumentError(
            f"{path}: must have as many characters as the model has tokens,"
            f" {model.input.vocabulary}, not {len(found)}"
        )


def predicts(model: PackedModel) -> bool:
    """Whether a model has an output for each of its tokens, as what predicts the next one has."""
    return isinstance(model.input, Tokens) and model.output_size == model.input.vocabulary


def check_predicts(model: PackedModel) -> None:
    """Checks that a model of tokens may predict text.

    Raises:
        ArgumentError: It has more outputs than tokens, or less.
    """
    if not predicts(model):
        raise ArgumentError(
            "to predict text, a model must have an output for each of its tokens, and this one has"
            f" {model.output_size} for {len(vocabulary_of(model) or ())}; `csbrnn run MODEL TEXT"
            " --output FILE.npy` writes them"
        )


def read_vocabulary(path: Path) -> list[str]:
    """Reads the characters of a vocabulary, in the order of their numbers.

    Raises:
        ArgumentError: The file can't be read, or is no JSON list of different single characters
            (the first one, which stands for all others, may be any text).
    """
    found = load_json(path)
    if (
        not isinstance(found, list)
        or not all(isinstance(entry, str) for entry in found)
        or not all(len(entry) == 1 for entry in found[1:])
        or len(set(found)) != len(found)
    ):
        raise ArgumentError(
            f"{path}: must be a JSON list of different characters, in the order of their numbers;"
            " the first stands for all that are not in it"
        )
    return list(found)
