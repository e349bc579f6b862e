"""Character language model: the network, its training loop, its measure; the task."""

from __future__ import annotations

import abc
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from csbrnn.pruning import Pruner
from csbrnn.tasks.settings import check_ranges
from csbrnn.tasks.task import Network, Score, Task, device_of
from csbrnn.tasks.text import TextCorpus, language_reference, read_text
from csbrnn.tasks.training import Training, fit

if TYPE_CHECKING:
    from csbrnn.runtime import Engine

__all__ = ["CharLM", "CharLMTask", "TextTask", "Training", "bits_per_char", "stream_nats", "train"]

#: Characters that the standard error takes as one unit. Ours: a few sentences, whose difficulty
#: hardly depends on the next ones'.
_UNIT = 500


class CharLM(nn.Module):
    """Embedding, recurrent layers, linear: logits of the next character (or word).

    Args:
        vocabulary: Number of characters.
        hidden_size: Units of each recurrent layer.
        num_layers: Recurrent layers.
        embedding_size: Features of a character.
        dropout: Share of outputs dropped in training, between layers and before the last.
        cell: One of `csbrnn.tasks.task.CELLS`.
    """

    def __init__(
        self,
        vocabulary: int,
        hidden_size: int,
        num_layers: int = 1,
        embedding_size: int = 64,
        dropout: float = 0.0,
        cell: str = "lstm",
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding_size)
        network = Network(cell, hidden_size, num_layers, dropout)
        self.rnn = network.recurrent(embedding_size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, vocabulary)

    def forward(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Logits for each position.

        Shape:
            tokens: (seq_len, batch), integers. Returns (seq_len, batch, vocabulary) and the state.
        """
        outputs, state = self.rnn(self.embedding(tokens), state)
        return self.output(self.dropout(outputs)), state


def train(
    model: nn.Module,
    corpus: TextCorpus,
    training: Training,
    *,
    checkpoint: Path,
    pruner: Pruner | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> None:
    """Trains a model in place, resuming from its checkpoint where there is one.

    Args:
        model: Called with tokens (seq_len, batch); returns logits first.
        corpus: The text.
        training: The settings.
        checkpoint: File to save to about every ten seconds and at the end.
        pruner: From `csbrnn.prune_` on the same model.
        progress: Called after each step with the steps done and the loss in bits a character.

    Raises:
        ArgumentError: The checkpoint is of other settings, or is unreadable.
    """
    in_bits = None
    if progress is not None:
        report = progress

        def in_bits(done: int, loss: float) -> None:
            report(done, loss / math.log(2))

    fit(
        model,
        lambda network, rng: window_loss(network, corpus, rng, training),
        training,
        checkpoint=checkpoint,
        pruner=pruner,
        progress=in_bits,
    )


def window_loss(
    model: nn.Module, corpus: TextCorpus, rng: np.random.Generator, training: Training
) -> Tensor:
    """Mean cross-entropy of random windows of a text, in nats a token. Shape: ()."""
    device = device_of(model)
    windows = corpus.batch(rng, training.batch, training.seq_len)
    tokens, targets = (torch.from_numpy(window).to(device) for window in windows)
    logits, *_ = model(tokens)
    return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


@torch.no_grad()
def stream_nats(
    model: nn.Module, tokens: npt.NDArray[np.integer[Any]], chunk: int = 4096
) -> npt.NDArray[np.float32]:
    """Nats that a model needs for each token but the first, read as one stream.

    Shape:
        tokens: (count,). Returns (count - 1,).
    """
    was_training = model.training
    model.eval()
    stream = torch.from_numpy(tokens.astype(np.int64)).to(device_of(model))
    state, nats = None, []
    for start in range(0, len(stream) - 1, chunk):
        piece = stream[start : start + chunk + 1]
        logits, state = model(piece[:-1, None], state)
        nats.append(functional.cross_entropy(logits[:, 0], piece[1:], reduction="none").cpu())
    model.train(was_training)
    values: npt.NDArray[np.float32] = torch.cat(nats).numpy()
    return values


def engine_nats(
    engine: Engine, tokens: npt.NDArray[np.integer[Any]], chunk: int = 4096
) -> npt.NDArray[np.float32]:
    """`stream_nats` of a compiled model."""
    state, nats = None, []
    for start in range(0, len(tokens) - 1, chunk):
        piece = tokens[start : start + chunk + 1]
        logits, state = engine(piece[:-1], state)
        targets = torch.from_numpy(piece[1:].astype(np.int64))
        nats.append(functional.cross_entropy(torch.from_numpy(logits), targets, reduction="none"))
    values: npt.NDArray[np.float32] = torch.cat(nats).numpy()
    return values


def text_score(
    nats: npt.NDArray[np.float32], per_token: float = 1.0, *, exponential: bool = False
) -> Score:
    """A score over stretches of text.

    Args:
        nats: Of each token.
        per_token: What they are divided by: ln 2 gives bits.
        exponential: See `Score`.
    """
    cuts = range(_UNIT, len(nats), _UNIT)
    units = np.split(nats.astype(np.float64) / per_token, cuts)
    totals = tuple(float(unit.sum()) for unit in units)
    return Score(totals, tuple(float(len(unit)) for unit in units), exponential)


def bits_per_char(model: nn.Module, corpus: TextCorpus, chunk: int = 4096) -> float:
    """Mean bits a character of the held-out text, read as one stream with the state carried."""
    nats = stream_nats(model, corpus.held_out, chunk)
    return float(nats.sum(dtype=np.float64) / math.log(2) / len(nats))


@dataclass(frozen=True)
class TextTask(Task):
    """Predict the next token of a text.

    Attributes:
        data: A UTF-8 file; Python's language reference if empty.
        held_out: Share of the text, from its end, to measure on.
        embedding_size: Features of a token.
    """

    lower_is_better: ClassVar[bool] = True
    per_token: ClassVar[float] = 1.0
    """What nats of a token are divided by."""
    exponential: ClassVar[bool] = False
    """See `csbrnn.tasks.task.Score`."""

    data: str = ""
    held_out: float = 0.1
    embedding_size: int = 64

    def __post_init__(self) -> None:
        check_ranges(self, held_out=(0.001, 0.9), embedding_size=(1, 1 << 16))

    @property
    @abc.abstractmethod
    def corpus(self) -> TextCorpus:
        """The text as numbers, read when first needed."""

    def text(self) -> str:
        """Returns the whole text.

        Raises:
            ArgumentError: The file can't be read.
        """
        return read_text(Path(self.data)) if self.data else language_reference()

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
        return self._score(stream_nats(model, self.corpus.held_out))

    def evaluate_engine(self, engine: Engine) -> Score:
        """See `Task.evaluate_engine`."""
        return self._score(engine_nats(engine, self.corpus.held_out))

    def _score(self, nats: npt.NDArray[np.float32]) -> Score:
        return text_score(nats, self.per_token, exponential=self.exponential)

    def sample_input(self) -> npt.NDArray[np.int32]:
        """See `Task.sample_input`."""
        return self.corpus.held_out[:1000]

    def _fingerprint(self, separator: str) -> str:
        digest = hashlib.sha256(separator.join(self.corpus.vocabulary).encode())
        digest.update(self.corpus.train.tobytes() + self.corpus.held_out.tobytes())
        return digest.hexdigest()[:16]


@final
@dataclass(frozen=True)
class CharLMTask(TextTask):
    """Predict the next character of a text.

    Attributes:
        max_chars: Characters to use, from the start; 0 for all. For quick trials.
    """

    name: ClassVar[str] = "char-lm"
    metric: ClassVar[str] = "bits per character"
    per_token: ClassVar[float] = math.log(2)
    network: ClassVar[Network] = Network(hidden_size=512, dropout=0.2)
    # Ours: those of the demo.
    training: ClassVar[Training] = Training(steps=1600, learning_rate=4e-3)

    max_chars: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, max_chars=(0, 1 << 40))

    @cached_property
    def corpus(self) -> TextCorpus:
        """The characters as numbers, read when first needed."""
        return TextCorpus.from_text(self.text()[: self.max_chars or None], self.held_out)

    def fingerprint(self) -> str:
        """See `Task.fingerprint`."""
        return self._fingerprint("")

    def metadata(self) -> dict[str, Any]:
        """See `Task.metadata`."""
        return {"vocabulary": list(self.corpus.vocabulary)}
