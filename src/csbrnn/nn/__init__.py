"""Cells as torch modules, and networks between torch, ONNX and packed models."""

from csbrnn.nn.pack import pack
from csbrnn.nn.recurrent import Recurrent
from csbrnn.nn.rnn_layers import stack_of
