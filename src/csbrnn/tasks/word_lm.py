"""Word language model on any text file."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, final

from csbrnn.checks import is_integer
from csbrnn.errors import ArgumentError
from csbrnn.tasks.char_lm import TextTask
from csbrnn.tasks.task import Network
from csbrnn.tasks.text import UNKNOWN, TextCorpus, encode, held_out_from
from csbrnn.tasks.training import Training

__all__ = ["WordLMTask", "split_words"]

#: A word, a single sign, or the end of a line.
_WORD = re.compile(r"\w+|[^\w\s]|\n")


def split_words(text: str) -> list[str]:
    """Cuts a text into words, signs and ends of lines; other blanks are lost."""
    return _WORD.findall(text)


@final
@dataclass(frozen=True)
class WordLMTask(TextTask):
    """Predict the next word of a text.

    Perplexities compare only where vocabulary and splitting are the same: words outside of the
    vocabulary count as one word, which is easy to predict.

    Attributes:
        vocabulary: Most words to know, "unknown" among them; the rarer ones are that.
    """

    name: ClassVar[str] = "word-lm"
    metric: ClassVar[str] = "perplexity"
    exponential: ClassVar[bool] = True
    network: ClassVar[Network] = Network(hidden_size=512, dropout=0.5)
    # Ours: as for characters, with more dropout and shorter windows, for words are fewer.
    training: ClassVar[Training] = Training(steps=1600, learning_rate=4e-3, seq_len=35)

    embedding_size: int = 128
    vocabulary: int = 10_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not is_integer(self.vocabulary, 2):
            raise ArgumentError(
                f"vocabulary must be a whole number of words, at least 2, not {self.vocabulary!r}"
            )

    @cached_property
    def corpus(self) -> TextCorpus:
        """The words as numbers, read when first needed."""
        words = split_words(self.text())
        if len(words) < 1000:
            raise ArgumentError(f"a corpus needs at least 1,000 words, got {len(words):,}")
        cut = held_out_from(len(words), self.held_out, "words")
        # Words as frequent as each other go by the alphabet, so that all runs agree.
        counted = sorted(Counter(words[:cut]).items(), key=lambda item: (-item[1], item[0]))
        known = (UNKNOWN, *(word for word, _ in counted[: self.vocabulary - 1]))
        return TextCorpus(known, encode(words[:cut], known), encode(words[cut:], known))

    def fingerprint(self) -> str:
        """See `Task.fingerprint`."""
        return self._fingerprint("\0")

    def metadata(self) -> dict[str, Any]:
        """See `Task.metadata`."""
        return {"words": list(self.corpus.vocabulary)}
