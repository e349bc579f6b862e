"""Text as streams of character numbers: a vocabulary, a split, batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from csbrnn.errors import ArgumentError

__all__ = ["UNKNOWN", "TextCorpus", "language_reference", "read_text"]

#: Stands for characters of held-out or user text that training text lacks. Vocabulary entry 0.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


def language_reference() -> str:
    """Python's language reference, as every CPython carries it for ``help()``.

    Topics quote each other (``compound`` contains ``for``, ``class``, ...), so each paragraph is
    kept only where it first occurs: otherwise held-out text would have been seen in training.
    """
    from pydoc_data.topics import topics

    paragraphs: dict[str, None] = {}
    for name in sorted(topics):
        for paragraph in topics[name].split("\n\n"):
            key = "\n".join(line.strip() for line in paragraph.strip().splitlines())
            if key:
                paragraphs.setdefault(key)
    return "\n\n".join(paragraphs)


def read_text(path: Path) -> str:
    """A UTF-8 text file.

    Raises:
        ArgumentError: It can't be read or isn't text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ArgumentError(f"{path}: can't be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{path}: must be UTF-8 text; byte {error.start} is not") from None


@dataclass(frozen=True)
class TextCorpus:
    """A text cut into a training and a held-out part.

    Attributes:
        vocabulary: Distinct characters of the training part, sorted, after `UNKNOWN`.
        train: Character numbers, int32. Shape: (characters,).
        held_out: The same for the end of the text.
    """

    vocabulary: tuple[str, ...]
    train: npt.NDArray[np.int32]
    held_out: npt.NDArray[np.int32]

    @classmethod
    def from_text(cls, text: str, held_out: float = 0.1) -> TextCorpus:
        """Holds out the last part of a text.

        Args:
            text: At least 1,000 characters.
            held_out: Share of the text.

        Raises:
            ArgumentError: The text is too short to train on, or the part held out to measure on.
        """
        if len(text) < 1000:
            raise ArgumentError(f"a corpus needs at least 1,000 characters, got {len(text):,}")
        cut = held_out_from(len(text), held_out, "characters")
        vocabulary = (UNKNOWN, *sorted(set(text[:cut]) - {UNKNOWN}))
        return cls(vocabulary, encode(text[:cut], vocabulary), encode(text[cut:], vocabulary))

    def batch(
        self, rng: np.random.Generator, batch: int, seq_len: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Random windows of the training part and the characters that follow each position.

        Returns:
            Inputs and targets. Shape: (seq_len, batch) each.
        """
        if len(self.train) <= seq_len:
            raise ArgumentError(
                f"training text must be longer than seq_len = {seq_len}, got {len(self.train)}"
            )
        starts = rng.integers(0, len(self.train) - seq_len, size=batch)
        windows = self.train[starts + np.arange(seq_len + 1)[:, None]].astype(np.int64)
        return windows[:-1], windows[1:]


def held_out_from(count: int, share: float, what: str) -> int:
    """Return where the part begins that is held out.

    Args:
        count: Characters or words of the text.
        share: To hold out.
        what: "characters" or "words".

    Raises:
        ArgumentError: It would have less than two of them, and the first is not predicted.
    """
    cut = round(count * (1 - share))
    if count - cut < 2:
        raise ArgumentError(
            f"held_out = {share:g} of {count:,} {what} must be 2 {what} at least, the second of"
            f" which is predicted, not {count - cut}; hold out more"
        )
    return cut


def encode(text: Sequence[str], vocabulary: Sequence[str]) -> npt.NDArray[np.int32]:
    """Characters (or words) as numbers; those outside the vocabulary become 0 (`UNKNOWN`)."""
    number = {character: k for k, character in enumerate(vocabulary)}
    return np.fromiter((number.get(c, 0) for c in text), np.int32, len(text))


def decode(numbers: Sequence[int], vocabulary: Sequence[str]) -> str:
    """Numbers as characters."""
    return "".join(vocabulary[n] for n in numbers)
