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
    Unavailable,
    as_float32,
    bytes_read,
    require_package,
)
from csbrnn.bench.timing import fastest
from csbrnn.model import Tokens

__all__ = ["ONNXRUNTIME", "OnnxRuntime", "float_weights"]

_WEIGHTED: Final = {"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "MatMul": (0, 1), "Gemm": (1,)}
"""Operator -> which of its inputs may be weight matrices."""


class OnnxRuntime(Contender):
    """A model run by ONNX Runtime, with states as inputs and outputs.

    A step is either a plain ``run`` or a run with bound, preallocated buffers, whichever is
    faster here. Spinning is left on, as by default: it makes steps on several threads faster, and
    is told to stop when a step ends, so that it does not take the next contender's cores.

    Args:
        variant: Name of the configuration.
        precision: "fp32" or "int8" (dynamic quantization).
        per_channel: For int8, whether each row of a matrix has a scale of its own.
    """

    name: ClassVar[str] = "onnxruntime"

    def __init__(self, variant: str, precision: str = "fp32", per_channel: bool = False):
        self.variant, self.precision, self._per_channel = variant, precision, per_channel

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
            options.add_session_config_entry("session.force_spinning_stop", "1")
            session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        yield self._prepare(case, runtime, session)

    def _export(self, case: Case, folder: Path) -> Path:
        """Writes the model, quantized if need be."""
        require_package("onnx")
        require_package("torch")
        from csbrnn.nn import to_onnx  # noqa: PLC0415 - optional

        path = folder / "model.onnx"
        to_onnx(case.dense, path)
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
                per_channel=self._per_channel,
            )
        finally:
            logging.disable(logging.NOTSET)
        left = float_weights(quantized)
        if left:
            raise Unavailable(f"quantize_dynamic left fp32 without a word: {', '.join(left)}")
        return quantized

    def _prepare(self, case: Case, runtime: Any, session: Any) -> Prepared:
        tokens = isinstance(case.model.input, Tokens)
        buffers = _Buffers(runtime, session, np.int64 if tokens else np.float32)
        # Both ways of stepping share input, states and output.
        step = fastest({"run": buffers.step_plain, "binding": buffers.step_bound})

        def sequence(xs: Array) -> Callable[[], Array]:
            feeds = buffers.zero_feeds(len(xs))
            feeds[buffers.x_name] = np.ascontiguousarray(
                xs.reshape(feeds[buffers.x_name].shape), feeds[buffers.x_name].dtype
            )
            names = [buffers.y_name]
            return lambda: session.run(names, feeds)[0].reshape(len(xs), -1)  # type: ignore[no-any-return]

        return Prepared(
            step=step,
            set_input=buffers.set_input,
            output=buffers.output,
            reset=buffers.reset,
            nbytes=bytes_read(case.dense, 1 if self.precision == "int8" else 4),
            sequence=sequence,
        )


ONNXRUNTIME: Final = (
    OnnxRuntime("default"),
    OnnxRuntime("dynamic quantization", "int8"),
)
"""Every configuration that is measured."""
