"""Word language model on any text file."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from csbrnn.errors import ArgumentError
from csbrnn.tasks.char_lm import CharLM, engine_nats, stream_nats, text_score, window_loss
from csbrnn.tasks.task import Network, Score, Task
from csbrnn.tasks.text import UNKNOWN, TextCorpus, encode, language_reference, read_text
from csbrnn.tasks.training import Training

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["WordLMTask", "split_words"]

#: A word, a single sign, or the end of a line.
_WORD = re.compile(r"\w+|[^\w\s]|\n")


def split_words(text: str) -> list[str]:
    """Cuts a text into words, signs and ends of lines; other blanks are lost."""
    return _WORD.findall(text)


@final
@dataclass(frozen=True)
class WordLMTask(Task):
    """Predict the next word of a text.

    Perplexities compare only where vocabulary and splitting are the same: words outside of the
    vocabulary count as one word, which is easy to predict.

    Attributes:
        data: A UTF-8 file; Python's language reference if empty.
        held_out: Share of the words, from the end of the text, to measure on.
        vocabulary: Most words to know, "unknown" among them; the rarer ones are that.
        embedding_size: Features of a word.
    """

    name: ClassVar[str] = "word-lm"
    metric: ClassVar[str] = "perplexity"
    lower_is_better: ClassVar[bool] = True
    network: ClassVar[Network] = Network(hidden_size=512, dropout=0.5)
    # Ours: as for characters, with more dropout and shorter windows, for words are fewer.
    training: ClassVar[Training] = Training(steps=1600, learning_rate=4e-3, seq_len=35)

    data: str = ""
    held_out: float = 0.1
    vocabulary: int = 10_000
    embedding_size: int = 128

    def __post_init__(self) -> None:
        if type(self.vocabulary) is not int or self.vocabulary < 2:
            raise ArgumentError(
                f"vocabulary must be a whole number of words, at least 2, not {self.vocabulary!r}"
            )

    @cached_property
    def corpus(self) -> TextCorpus:
        """The words as numbers, read when first needed."""
        words = split_words(read_text(Path(self.data)) if self.data else language_reference())
        if len(words) < 1000:
            raise ArgumentError(f"a corpus needs at least 1,000 words, got {len(words):,}")
        cut = round(len(words) * (1 - self.held_out))
        # Words as frequent as each other go by the alphabet, so that all runs agree.
        counted = sorted(Counter(words[:cut]).items(), key=lambda item: (-item[1], item[0]))
        known = (UNKNOWN, *(word for word, _ in counted[: self.vocabulary - 1]))
        return TextCorpus(known, encode(words[:cut], known), encode(words[cut:], known))

    def build(self, network: Network, *, seed: int = 0) -> CharLM:
        """See `Task.build`."""
        torch.manual_seed(seed)
        return CharLM(
            len(self.corpus.vocabulary),
            network.hidden_size,
            network.num_layers,
            self.embedding_size,
            network.dropout,
            network.cell,
        )

    def batch_loss(self, model: nn.Module, rng: np.random.Generator, training: Training) -> Tensor:
        """See `Task.batch_loss`."""
        return window_loss(model, self.corpus, rng, training)

    def evaluate(self, model: nn.Module) -> Score:
        """See `Task.evaluate`."""
        return text_score(stream_nats(model, self.corpus.held_out), exponential=True)

    def evaluate_engine(self, engine: Engine) -> Score:
        """See `Task.evaluate_engine`."""
        return text_score(engine_nats(engine, self.corpus.held_out), exponential=True)

    def sample_input(self) -> npt.NDArray[np.int32]:
        """See `Task.sample_input`."""
        return self.corpus.held_out[:1000]

    def fingerprint(self) -> str:
        """See `Task.fingerprint`."""
        digest = hashlib.sha256("\0".join(self.corpus.vocabulary).encode())
        digest.update(self.corpus.train.tobytes() + self.corpus.held_out.tobytes())
        return digest.hexdigest()[:16]

    def metadata(self) -> dict[str, Any]:
        """See `Task.metadata`."""
        return {"words": list(self.corpus.vocabulary)}
