"""ONNX Runtime, in fp32 and dynamically quantized: the peer to beat."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from csbrnn.bench.cases import Case
from csbrnn.bench.contender import (
    Array,
    Contender,
    Prepared,
    UnavailableError,
    as_float32,
    bytes_read,
    require_package,
)
from csbrnn.bench.environment import describe_environment
from csbrnn.bench.onnx_step import onnx_model
from csbrnn.model import Tokens

__all__ = ["ONNXRUNTIME", "OnnxRuntime", "float_weights"]

_WEIGHTED: Final = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "MatMul": (0, 1), "Gemm": (1,)}
"""Operator -> which of its inputs may be weight matrices."""


class OnnxRuntime(Contender):
    """A model run by ONNX Runtime, with states as inputs and outputs.

    A step is a run with bound, preallocated buffers: 4 to 6 us less than a plain ``run``. Spinning
    is left on, as it is by default; that it goes on for a while after a step is part of its speed
    on several threads, and why `csbrnn.bench.timing` waits for quiet between turns.

    Args:
        variant: Name of the configuration.
        precision: "fp32" or "int8" (dynamic quantization).
        step_graph: Whether LSTM and GRU are written out as matrix products for one step. Dynamic
            quantization knows products, but not the operator GRU.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, variant: str, precision: str = "fp32", step_graph: bool = False):
        self.variant, self.precision, self._step_graph = variant, precision, step_graph

    @contextmanager
    def open(self, case: Case, threads: int) -> Iterator[Prepared]:
        """Exports the dense model and opens a session on it; see `Contender.open`."""
        runtime = require_package("onnxruntime")
        with tempfile.TemporaryDirectory(prefix="csbrnn-bench-") as folder:
            path = self._export(case, Path(folder))
            options = runtime.SessionOptions()
            options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
            options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
            options.log_severity_level = 3
            session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        yield self._prepare(case, runtime, session)

    def _export(self, case: Case, folder: Path) -> Path:
        """Writes the model, quantized if need be."""
        onnx = require_package("onnx")
        path = folder / "model.onnx"
        onnx.save(onnx_model(case, step_graph=self._step_graph), str(path))
        if self.precision == "fp32":
            return path
        quantization = require_package("onnxruntime.quantization")
        quantized = folder / "quantized.onnx"
        logging.disable(logging.WARNING)  # it advises preprocessing, which changes nothing here
        try:
            quantization.quantize_dynamic(
                path,
                quantized,
                weight_type=quantization.QuantType.QInt8,
                # Without VNNI its kernels on x86-64 add pairs of products in 16 bits, which
                # overflow: its documentation then wants weights of 7 bits. They cost no time.
                reduce_range=not _sums_in_32_bits(),
            )
        finally:
            logging.disable(logging.NOTSET)
        left = float_weights(quantized)
        if left:
            raise UnavailableError(f"quantize_dynamic left fp32 without a word: {', '.join(left)}")
        return quantized

    def _prepare(self, case: Case, runtime: Any, session: Any) -> Prepared:
        tokens = isinstance(case.model.input, Tokens)
        buffers = _Buffers(runtime, session, np.dtype(np.int64 if tokens else np.float32))

        def sequence(xs: Array) -> Callable[[], Array]:
            feeds = buffers.feeds(len(xs))
            feeds[buffers.x_name][...] = xs.reshape(feeds[buffers.x_name].shape)
            names = [buffers.y_name]

            def call() -> Array:
                outputs: Array = session.run(names, feeds)[0]
                return outputs.reshape(len(xs), -1)

            return call

        return Prepared(
            step=buffers.step,
            set_input=buffers.set_input,
            output=buffers.output,
            reset=buffers.reset,
            nbytes=bytes_read(case.dense, 1 if self.precision == "int8" else 4),
            sequence=None if self._step_graph else sequence,
        )


class _Buffers:
    """A session's input, output and states in place.

    The states have two places each: a step reads one and writes the other, the next step the
    other way round, so nothing is copied. The session's first input and output are the model's;
    the others are states, in one order.
    """

    def __init__(self, runtime: Any, session: Any, dtype: np.dtype[Any]) -> None:
        self._session, self._dtype = session, dtype
        inputs, outputs = session.get_inputs(), session.get_outputs()
        self.x_name, self.y_name = inputs[0].name, outputs[0].name
        feeds = self.feeds(1)
        output_shape = [n if isinstance(n, int) else 1 for n in outputs[0].shape]
        # OrtValues share memory with these arrays.
        self._x, self._y = feeds.pop(self.x_name), np.zeros(output_shape, np.float32)
        self._states = [list(feeds.values()), [np.zeros_like(state) for state in feeds.values()]]
        value = runtime.OrtValue.ortvalue_from_numpy
        x, y = value(self._x), value(self._y)
        here, there = ([value(state) for state in states] for states in self._states)
        self._bindings = []
        for before, after in ((here, there), (there, here)):
            binding = session.io_binding()
            binding.bind_ortvalue_input(self.x_name, x)
            binding.bind_ortvalue_output(self.y_name, y)
            for state, source in zip(inputs[1:], before, strict=True):
                binding.bind_ortvalue_input(state.name, source)
            for state, target in zip(outputs[1:], after, strict=True):
                binding.bind_ortvalue_output(state.name, target)
            self._bindings.append(binding)
        self._turn = 0

    def feeds(self, seq_len: int) -> dict[str, Array]:
        """Arrays of zeros for every input; dimensions left open are 1, but time of the input."""
        feeds: dict[str, Array] = {}
        for entry in self._session.get_inputs():
            shape = [n if isinstance(n, int) else 1 for n in entry.shape]
            is_input = entry.name == self.x_name
            if is_input:
                shape[0] = seq_len
            feeds[entry.name] = np.zeros(shape, self._dtype if is_input else np.float32)
        return feeds

    def step(self) -> None:
        self._session.run_with_iobinding(self._bindings[self._turn])
        self._turn ^= 1

    def set_input(self, x: Array) -> None:
        self._x[...] = x

    def output(self) -> Array:
        return as_float32(self._y).reshape(-1)

    def reset(self) -> None:
        for state in (*self._states[0], *self._states[1]):
            state[...] = 0


ONNXRUNTIME: Final = (
    OnnxRuntime("default"),
    OnnxRuntime("quantized", "int8"),
    OnnxRuntime("step graph", step_graph=True),
    OnnxRuntime("step graph, quantized", "int8", step_graph=True),
)
"""Every configuration that is measured."""


def _sums_in_32_bits() -> bool:
    isa = describe_environment()["isa"]
    return not any(flag.startswith("avx") for flag in isa) or any("vnni" in flag for flag in isa)


def float_weights(path: Path) -> list[str]:
    """Operators of an ONNX file that still multiply by fp32 weights, as ``"GRU 'rnn'"``."""
    onnx = require_package("onnx")
    graph = onnx.load(path).graph
    floats = {
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1
    }
    return [
        f"{node.op_type} {node.name!r}"
        for node in graph.node
        if any(node.input[k] in floats for k in _WEIGHTED.get(node.op_type, ()))
    ]
