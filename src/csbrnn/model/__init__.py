"""The packed model: a graph of layers, each weight in its format, on disk and in memory.

`layers` are the nodes, `graph` the whole and its checks, `precision` changes its number format,
`reference` is what it computes, `store` the directory it is saved in; `config`, `tensors` and
`strict_json` are what `store` reads with.
"""

from csbrnn.model.config import FORMAT_NAME, FORMAT_VERSION
from csbrnn.model.graph import INPUT, PackedModel, problems, verify
from csbrnn.model.layers import (
    LAYERS,
    MAX_STACK,
    Activation,
    Combine,
    Embedding,
    Features,
    Layer,
    Linear,
    Recurrent,
    Signal,
    Tokens,
    Vector,
)
from csbrnn.model.precision import map_matrices, quantize
from csbrnn.model.reference import States, run_reference
from csbrnn.model.store import load, save

__all__ = [
    "FORMAT_NAME",
    "FORMAT_VERSION",
    "INPUT",
    "LAYERS",
    "MAX_STACK",
    "Activation",
    "Combine",
    "Embedding",
    "Features",
    "Layer",
    "Linear",
    "PackedModel",
    "Recurrent",
    "Signal",
    "States",
    "Tokens",
    "Vector",
    "load",
    "map_matrices",
    "problems",
    "quantize",
    "run_reference",
    "save",
    "verify",
]
