import numpy as np
import pytest

from csbrnn.cells import GRU_RESET_BEFORE, LSTM, LSTM_PEEPHOLE, Stack
from csbrnn.compiler import format_program, lower
from csbrnn.model import Activation, Embedding, Features, Linear, PackedModel, Tokens

from .models import make_cell, matrix, recurrent, single, values


def character_model():
    rng = np.random.default_rng(0)
    layers = (
        Embedding("embedding", ("input",), matrix(rng, 50, 16)),
        recurrent(rng, "lstm", "embedding", Stack(LSTM, 16, 32, num_layers=2)),
        Linear("linear", ("lstm",), matrix(rng, 50, 32), values(rng, 50)),
        Activation("probabilities", ("linear",), "log_softmax"),
    )
    return PackedModel(layers, Tokens(50), "probabilities")


def tagger():
    rng = np.random.default_rng(0)
    layers = (
        recurrent(rng, "rnn", "input", Stack(GRU_RESET_BEFORE, 3, 4, 0, 2, bidirectional=True)),
        Linear("out", ("rnn",), matrix(rng, 2, 8)),
    )
    return PackedModel(layers, Features(3), "out")


MODELS = {
    "character_lstm": character_model,
    "bidirectional_gru_reset_before": tagger,
    "peephole": lambda: single(np.random.default_rng(0), LSTM_PEEPHOLE),
    "swap": lambda: single(np.random.default_rng(0), make_cell("h_next = c\nc_next = h")),
}


@pytest.mark.parametrize("name", MODELS)
def test_golden(name, golden):
    golden(f"{name}.txt", format_program(lower(MODELS[name]())))


def test_golden_without_fusion(golden):
    golden("character_lstm_unfused.txt", format_program(lower(character_model(), fuse=False)))


def test_deep_expressions_take_short_lines():
    chain = "\n".join(f"a{k} = tanh(a{k - 1})" for k in range(1, 300))
    cell = make_cell(f"a0 = U @ h\n{chain}\nh_next = a299\nc_next = c")
    text = format_program(lower(single(np.random.default_rng(0), cell)))
    assert max(map(len, text.splitlines())) < 100


def test_parentheses_keep_the_meaning():
    cell = make_cell("h_next = h - (c - b) * (h + c) / maximum(c + b, 1)\nc_next = -(h + b) * 2")
    text = format_program(lower(single(np.random.default_rng(0), cell)))
    b = "rnn.bias_l0[0:4]"
    assert f"((rnn.c_l0 - {b}) * (rnn.h_l0 + rnn.c_l0))" in text
    assert f"neg(rnn.h_l0 + {b}) * 2" in text
