"""Small models and a training loop for the tests."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import csbrnn.pruning as pruning
from csbrnn.patterns import CSB

CLASSES = 5


class Tagger(nn.Module):
    """An LSTM that labels each step of a sequence."""

    def __init__(self, hidden=16, **options):
        super().__init__()
        self.encoder = nn.LSTM(8, hidden, batch_first=True, **options)
        width = options.get("proj_size") or hidden
        self.head = nn.Linear(width * (2 if options.get("bidirectional") else 1), CLASSES)

    def forward(self, x):
        return self.head(self.encoder(x)[0])


def batch(seed, size=4, steps=6):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(size, steps, 8, generator=generator)
    return x, (x.sum(-1) * 2).long().clamp(-2, 2) + 2


def task_loss(logits, labels):
    return cross_entropy(logits.flatten(0, 1), labels.flatten())


def train(model, optimizer, pruner, steps, first=0):
    """The loop of the documentation; returns the losses."""
    losses = []
    for number in range(first, first + steps):
        x, labels = batch(number)
        loss = pruner.loss(task_loss(model(x), labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step()
        losses.append(float(loss.detach()))
    return losses


def recipe(method=None, density=0.25, pattern=None, **options):
    method = method or pruning.OneShot()
    return pruning.Recipe(pattern or CSB((4, 4)), density, method, **options)
