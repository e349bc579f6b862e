from dataclasses import replace

import numpy as np
import pytest

from csbrnn.cells import CELLS, Stack
from csbrnn.errors import UnsupportedModelError
from csbrnn.formats import CSBMatrix, DenseMatrix
from csbrnn.model import (
    Activation,
    Combine,
    Embedding,
    Features,
    Linear,
    PackedModel,
    Recurrent,
    Tokens,
    problems,
    verify,
)

from .models import MODELS, branching_model, elman_model, language_model


def dense(rows, cols):
    return DenseMatrix(np.ones((rows, cols), np.float32))


@pytest.mark.parametrize("name", MODELS)
def test_the_examples_are_valid(name):
    verify(MODELS[name]())


def test_signals_and_sizes():
    signals = branching_model().signals
    assert signals["gru"] == signals["sum"] == signals["product"] == Features(8)
    assert signals["both"] == Features(8 + 8 + 3)
    assert branching_model().output_size == 8
    assert language_model().output_size == 7


def test_rates_count_pruned_matrices_and_compression_counts_all():
    weight = np.zeros((4, 8), np.float32)
    weight[:, 0] = 1
    model = PackedModel(
        (
            Linear("dense", ("input",), dense(8, 8), np.ones(8, np.float32)),
            Linear("pruned", ("dense",), CSBMatrix.from_dense(weight, (4, 8), 4)),
        ),
        Features(8),
        "pruned",
    )
    assert (model.dense_weights, model.kept_weights) == (64 + 32, 64 + 4)
    assert model.pruning_rate == 32 / 4
    # 64 + 8 + 4 values of 4 bytes, and one byte of bitmap for the columns.
    assert model.nbytes == 4 * (64 + 8 + 4) + 1
    assert model.compression == 4 * (64 + 8 + 32) / model.nbytes
    assert model.layer("dense").vectors["bias"].sum() == 8


def test_rate_of_nothing_and_of_everything():
    only_dense = PackedModel((Linear("a", ("input",), dense(2, 2)),), Features(2), "a")
    assert (only_dense.pruning_rate, only_dense.compression) == (1.0, 1.0)
    assert elman_model().pruning_rate == float("inf")


def test_causal():
    assert language_model().causal
    assert not branching_model().causal


def test_all_problems_are_told_at_once():
    model = PackedModel(
        (
            Linear("a", ("input",), dense(3, 4), np.zeros(2, np.float32)),
            Linear("a", ("later",), dense(3, 3)),
            Activation("9", ("a",), "gelu"),
            Combine("c", ("a",), "subtract"),
        ),
        Features(5),
        "nowhere",
        metadata={"vocabulary": [1]},
    )
    with pytest.raises(UnsupportedModelError, match="not a valid packed model") as caught:
        verify(model)
    assert list(caught.value.reasons) == problems(model)
    assert "\n".join(problems(model)) == "\n".join(
        [
            "layer 'a': must read 4 features, not 5 features",
            "layer 'a': bias must be a float32 array of shape (3,), not float32 of shape (2,)",
            "layer 'a': the name is taken by a layer",
            "layer 'a': reads 'later', which is neither an earlier layer nor 'input'",
            r"layer '9': a name must match [A-Za-z_][A-Za-z0-9_.\-]{0,127}",
            "layer '9': function must be one of relu, tanh, sigmoid, softmax, log_softmax,"
            " not 'gelu'",
            "layer 'c': function must be one of add, multiply, concatenate, not 'subtract'",
            "layer 'c': must read features of two or more layers of one size, not 3 features",
            "output must be the name of a layer, not 'nowhere'",
            "metadata: vocabulary must be a list of strings",
        ]
    )


def test_recurrent_problems():
    stack = Stack(CELLS["rnn_tanh"], 2, 3)
    parameters = {
        "weight_ih_l0": dense(3, 3),
        "weight_hh_l0": np.zeros((3, 3), np.float32),
        "bias_ih_l0": dense(1, 3),
        "bias_hh_l0": np.array([1, np.inf, 1], np.float32),
        "weight_ih_l1": dense(3, 3),
    }
    model = PackedModel((Recurrent("r", ("input",), stack, parameters),), Features(2), "r")
    assert problems(model) == [
        "layer 'r': has an unknown parameter 'weight_ih_l1'",
        "layer 'r': weight_ih_l0 must have shape (3, 2), not (3, 3)",
        "layer 'r': weight_hh_l0 must be a Matrix, not ndarray",
        "layer 'r': bias_ih_l0 must have shape (3,), not (1, 3)",
        "layer 'r': bias_hh_l0 must be finite; it holds NaN or infinity",
    ]


def test_missing_matrices_are_named_and_counted():
    stack = Stack(CELLS["lstm"], 2, 3, num_layers=5)
    model = PackedModel((Recurrent("r", ("input",), stack, {}),), Features(2), "r")
    (problem,) = problems(model)
    assert problem.startswith("layer 'r': lacks weight_ih_l0, weight_hh_l0, weight_ih_l1, ")
    assert problem.endswith(", weight_hh_l3 and 2 more")


def test_vectors_may_be_left_out():
    model = elman_model()
    assert not model.layers[0].vectors
    verify(model)


@pytest.mark.parametrize(
    ("layer", "model_input", "message"),
    [
        (Embedding("e", ("input",), dense(5, 2)), Tokens(4), "must read tokens of a vocabulary of"),
        (Embedding("e", ("input",), dense(0, 2)), Tokens(4), "weight must not be empty"),
        (Linear("e", ("input",), dense(2, 4)), Tokens(4), "must read 4 features, not tokens of"),
        (Linear("e", (), dense(2, 4)), Features(4), "must read 4 features, not nothing"),
        (Activation("e", ("input",), "relu"), Tokens(4), "must read one layer's features"),
        (Combine("e", ("input", "input"), "add"), Tokens(4), "must read features of two or more"),
        (Linear("input", ("input",), dense(4, 4)), Features(4), "the name is taken by the model"),
    ],
)
def test_layer_problems(layer, model_input, message):
    assert message in "\n".join(problems(PackedModel((layer,), model_input, layer.name)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layers": ()}, "must have 1 to 256 layers, not 0"),
        ({"input": Tokens(0)}, "input must be of size 1 to"),
        ({"output": "input"}, "output must be the name of a layer, not 'input'"),
        ({"metadata": {"vocabulary": ["a"]}}, "vocabulary must list 7 texts, not 1"),
    ],
)
def test_model_problems(change, message):
    assert message in "\n".join(problems(replace(language_model(), **change)))
