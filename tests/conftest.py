"""Models that tests of several rooms run."""

import numpy as np
import pytest

from csbrnn.cells import LSTM, Stack
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import Embedding, Features, Linear, PackedModel, Recurrent, Tokens

VOCABULARY = list("\N{REPLACEMENT CHARACTER}\n abcdeT")


def _stack(rng, stack):
    parameters = {}
    for name, shape in stack.parameter_shapes().items():
        value = rng.normal(0, 0.3, shape).astype(np.float32)
        if len(shape) == 2:
            value *= np.repeat(rng.random((shape[0] // 4, shape[1])) < 0.4, 4, axis=0)
            value = CSBMatrix.from_dense(value, (4, 8), 4)
        parameters[name] = value
    return parameters


@pytest.fixture(scope="session")
def text_model():
    """A character model: embedding, pruned LSTM, linear."""
    rng = np.random.default_rng(0)
    size, stack = len(VOCABULARY), Stack(LSTM, 6, 12)
    normal = lambda *shape: rng.normal(0, 0.5, shape).astype(np.float32)  # noqa: E731
    return PackedModel(
        layers=(
            Embedding("embedding", ("input",), DenseMatrix(normal(size, 6))),
            Recurrent("lstm", ("embedding",), stack, _stack(rng, stack)),
            Linear("output", ("lstm",), DenseMatrix(normal(size, 12)), normal(size)),
        ),
        input=Tokens(size),
        output="output",
        metadata={"vocabulary": VOCABULARY},
    )


@pytest.fixture(scope="session")
def feature_model():
    """A pruned LSTM of 12 units on 5 float features."""
    rng = np.random.default_rng(1)
    stack = Stack(LSTM, 5, 12)
    return PackedModel(
        (Recurrent("lstm", ("input",), stack, _stack(rng, stack)),), Features(5), "lstm"
    )
