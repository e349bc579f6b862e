"""`read_sample`: a user's data, as a model takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from csbrnn.commands.run import load_array
from csbrnn.commands.vocabulary import NO_VOCABULARY, vocabulary_of
from csbrnn.errors import ArgumentError
from csbrnn.model import PackedModel
from csbrnn.tasks.text import encode, read_text

__all__ = ["read_sample"]


def read_sample(model: PackedModel, source: Path) -> NDArray[Any]:
    """Reads a sequence of inputs.

    Args:
        model: The model that shall read it.
        source: A text, for models that carry a vocabulary; else a .npy array.

    Shape:
        returns: (steps, features), or of tokens, (steps,); of an array, its own type for tokens.

    Raises:
        ArgumentError: The file can't be read or holds next to nothing, or the model carries no
            vocabulary.
    """
    if source.suffix == ".npy":
        return load_array(source, model)
    vocabulary = vocabulary_of(model)
    if vocabulary is None:
        raise ArgumentError(f"{source}: must be a .npy array, for {NO_VOCABULARY}")
    text = read_text(source)
    if len(text) < 2:
        raise ArgumentError(f"{source}: must hold two characters or more, has {len(text)}")
    return encode(text, vocabulary)
