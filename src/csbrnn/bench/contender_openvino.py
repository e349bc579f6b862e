"""OpenVINO, in fp32 and with its precision hint for bf16, on the ONNX model that peers share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
from csbrnn.bench.onnx_step import onnx_model
from csbrnn.model import PackedModel, Tokens

__all__ = ["OPENVINO", "OpenVINO"]

_HINTS: Final = {"fp32": "f32", "bf16": "bf16"}
_BYTES: Final = {"fp32": 4, "bf16": 2}


class OpenVINO(Contender):
    """A model run by OpenVINO, its states kept inside, its shapes fixed.

    That is its fastest way: measured on a step of small16, 11 us; with states as inputs and outputs
    15; with the length of the sequence left open 15 and 18. On large models all four are equal.

    Args:
        variant: Name of the configuration.
        precision: "fp32" or "bf16": a hint, which it follows where the CPU has instructions for it.
    """

    name: ClassVar[str] = "openvino"

    def __init__(self, variant: str, precision: str = "fp32") -> None:
        self.variant, self.precision = variant, precision

    @contextmanager
    def open(self, case: Case, threads: int) -> Iterator[Prepared]:
        """Compiles the dense model; see `Contender.open`."""
        openvino = require_package("openvino")
        core = openvino.Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if self.precision == "bf16" and "BF16" not in able:
            raise UnavailableError("this CPU has no instructions for bf16")
        file = onnx_model(case).SerializeToString()

        def request(seq_len: int) -> Any:
            return self._request(core, file, seq_len, threads)

        yield self._prepare(openvino, case.dense, request)

    def _request(self, core: Any, file: bytes, seq_len: int, threads: int) -> Any:
        """Compiles for a length of the sequence."""
        model = core.read_model(file)
        shapes = {
            entry.get_any_name(): [
                axis.get_length() if axis.is_static else 1 for axis in entry.get_partial_shape()
            ]
            for entry in model.inputs
        }
        x, *states = shapes
        shapes[x][0] = seq_len
        model.reshape(shapes)
        passes = require_package("openvino.passes")
        manager = passes.Manager()
        manager.register_pass(passes.MakeStateful({s: f"{s}.next" for s in states}))
        manager.run_passes(model)
        options = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
        }
        return core.compile_model(model, "CPU", options).create_infer_request()

    def _prepare(
        self, openvino: Any, model: PackedModel, request: Callable[[int], Any]
    ) -> Prepared:
        dtype = np.int64 if isinstance(model.input, Tokens) else np.float32
        features = () if isinstance(model.input, Tokens) else (model.input.size,)

        def bind(one: Any, seq_len: int) -> Any:
            """Gives a request a place for its input, and returns it: memory of OpenVINO's own."""
            tensor = openvino.Tensor(np.zeros((seq_len, 1, *features), dtype))
            one.set_input_tensor(0, tensor)
            return tensor

        def sequence(xs: Array) -> Callable[[], Array]:
            whole = request(len(xs))
            bind(whole, len(xs)).data[...] = xs.reshape(len(xs), 1, *features)

            def call() -> Array:
                whole.reset_state()
                whole.infer()
                outputs: Array = whole.get_output_tensor(0).data
                return outputs.reshape(len(xs), -1)

            return call

        step = request(1)
        x = bind(step, 1)

        def set_input(value: Array) -> None:
            x.data[...] = value

        return Prepared(
            step=step.infer,
            set_input=set_input,
            output=lambda: as_float32(step.get_output_tensor(0).data).reshape(-1),
            reset=step.reset_state,
            nbytes=bytes_read(model, _BYTES[self.precision]),
            sequence=sequence,
        )


OPENVINO: Final = (OpenVINO("stateful"), OpenVINO("stateful", "bf16"))
"""Every configuration that is measured."""
