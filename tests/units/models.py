"""Networks whose units appear in many places."""

import torch
from torch import nn

from csbrnn import cells
from csbrnn.nn import Recurrent


class Net(nn.Module):
    """An embedding, a recurrent layer, relu, a linear layer."""

    def __init__(self, rnn, width, *, embedded=5):
        super().__init__()
        self.embedding = nn.Embedding(7, embedded)
        self.rnn = rnn
        self.middle = nn.Linear(width, 6)
        self.head = nn.Linear(6, 4)

    def forward(self, tokens):
        return self.head(torch.relu(self.middle(self.rnn(self.embedding(tokens))[0])))


class Residual(nn.Module):
    """Two layers whose outputs are added: their units are the same ones."""

    def __init__(self):
        super().__init__()
        self.first = nn.GRU(5, 8)
        self.second = nn.LSTM(8, 8)
        self.third = nn.RNN(16, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        a = self.first(x)[0]
        both = a + self.second(a)[0]
        return self.head(self.third(torch.cat([both, a], dim=-1))[0])


class Tied(nn.Module):
    """A decoder that shares the embedding's table."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.rnn = nn.LSTM(6, 6)
        self.decoder = nn.Linear(6, 7, bias=False)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens):
        return self.decoder(self.rnn(self.embedding(tokens))[0])


class Bare(nn.Module):
    """A recurrent layer and a head."""

    def __init__(self, rnn, width):
        super().__init__()
        self.rnn = rnn
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.rnn(x)[0])


MODELS = {
    "lstm": lambda: Net(nn.LSTM(5, 8), 8),
    "lstm, 2 layers": lambda: Net(nn.LSTM(5, 8, 2), 8),
    "lstm, bidirectional": lambda: Net(nn.LSTM(5, 8, 2, bidirectional=True), 16),
    "lstm, projected": lambda: Net(nn.LSTM(5, 8, 2, proj_size=4), 4),
    "gru, 2 layers": lambda: Net(nn.GRU(5, 8, 2), 8),
    "gru, no bias": lambda: Net(nn.GRU(5, 8, bias=False), 8),
    "rnn": lambda: Net(nn.RNN(5, 8, nonlinearity="relu"), 8),
    "gru, reset before": lambda: Net(Recurrent(cells.GRU_RESET_BEFORE, 5, 8, 2), 8),
    "ligru, bidirectional": lambda: Net(Recurrent(cells.LIGRU, 5, 8, 2, bidirectional=True), 16),
    "peephole": lambda: Net(Recurrent(cells.LSTM_PEEPHOLE, 5, 8), 8),
    "residual": Residual,
    "tied": Tied,
}


def inputs(model, steps=6, batch=3):
    if any(isinstance(child, nn.Embedding) for child in model.modules()):
        return torch.randint(0, 7, (steps, batch))
    return torch.randn(steps, batch, 5)
