"""The characters that a token model's numbers stand for, in its metadata and in files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from csbrnn.errors import ArgumentError
from csbrnn.files import load_json
from csbrnn.model import PackedModel

__all__ = ["NO_VOCABULARY", "read_vocabulary", "vocabulary_of"]

NO_VOCABULARY = (
    "the model carries no vocabulary; `csbrnn pack --vocabulary FILE` gives it one, and so does"
    ' csbrnn.pack(..., metadata={"vocabulary": [...]})'
)
"""What to say where text is given to a model that can't read it."""


def vocabulary_of(model: PackedModel) -> Sequence[str] | None:
    """The characters which a token model's numbers stand for, where it carries them."""
    vocabulary = model.metadata.get("vocabulary")
    return None if vocabulary is None else [str(character) for character in vocabulary]


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
