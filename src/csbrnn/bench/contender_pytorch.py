"""PyTorch, in every configuration that someone in earnest would try.

`torch.nn.LSTM` as it is repacks its weights for oneDNN on every call, which costs a step at batch 1
several times its work; turning oneDNN off, stepping with `LSTMCell`, or writing the products out
avoids it. All run under `torch.inference_mode`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

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
from csbrnn.model import PackedModel, Recurrent, Tokens

if TYPE_CHECKING:
    from torch import nn

    from csbrnn.bench.torch_network import Stepper

__all__ = ["PYTORCH", "PyTorch"]

_LEADING: Final = {"module": (1, 1), "cell": (1,), "product": ()}


class PyTorch(Contender):
    """A model run by PyTorch.

    Args:
        variant: Name of the configuration.
        kind: "module" (`torch.nn.LSTM`), "cell" (`torch.nn.LSTMCell`) or "product".
        precision: "fp32" or "int8" (dynamic quantization; modules only).
        onednn: Whether oneDNN is used.
    """

    name: ClassVar[str] = "pytorch"

    def __init__(self, variant: str, kind: str, precision: str = "fp32", onednn: bool = True):
        self.variant, self.precision = variant, precision
        self._kind, self._onednn = kind, onednn

    @contextmanager
    def open(self, case: Case, threads: int) -> Iterator[Prepared]:
        """Sets PyTorch's thread count until left; see `Contender.open`."""
        torch = require_package("torch")
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield self._prepare(case.dense)
        finally:
            torch.set_num_threads(before)

    def _prepare(self, model: PackedModel) -> Prepared:
        import torch  # noqa: PLC0415 - optional

        from csbrnn.bench.torch_network import modules, network  # noqa: PLC0415 - imports torch

        weighted = modules(model, recurrent=self._kind == "module")
        if self.precision == "int8":
            weighted = _quantized(weighted)
        steppers = {
            str(position): self._stepper(layer, weighted, str(position))
            for position, layer in enumerate(model.layers)
            if isinstance(layer, Recurrent)
        }
        run = network(model, {**dict(weighted.items()), **steppers})
        leading, tokens = _LEADING[self._kind], isinstance(model.input, Tokens)
        buffer = np.zeros(leading if tokens else (*leading, model.input.size), _dtype(tokens))
        x = torch.from_numpy(buffer)
        latest = x

        def step() -> None:
            nonlocal latest
            latest = run(x)

        def set_input(value: Array) -> None:
            buffer[...] = value

        def reset() -> None:
            for stepper in steppers.values():
                stepper.reset()

        def sequence(xs: Array) -> Callable[[], Array]:
            whole = torch.from_numpy(np.array(xs, _dtype(tokens))[:, None])

            def call() -> Array:
                reset()
                return run(whole)[:, 0].numpy()

            return call

        @contextmanager
        def active() -> Iterator[None]:
            with torch.inference_mode(), _onednn(self._onednn):
                yield

        return Prepared(
            step=step,
            set_input=set_input,
            output=lambda: as_float32(latest.numpy()).reshape(-1),
            reset=reset,
            nbytes=bytes_read(model, 1 if self.precision == "int8" else 4),
            sequence=sequence if self._kind == "module" else None,
            active=active,
        )

    def _stepper(self, layer: Recurrent, weighted: nn.ModuleDict, position: str) -> Stepper:
        from csbrnn.bench import torch_network  # noqa: PLC0415 - imports torch

        if self._kind == "module":
            return torch_network.ModuleStepper(layer, weighted[position])
        if self._kind == "cell":
            return torch_network.CellStepper(layer)
        return torch_network.ProductStepper(layer)


PYTORCH: Final = (
    PyTorch("nn module", "module"),
    PyTorch("nn module, oneDNN off", "module", onednn=False),
    PyTorch("nn cell", "cell", onednn=False),
    PyTorch("fused product", "product", onednn=False),
    PyTorch("nn module, dynamic quantization", "module", precision="int8"),
)
"""Every configuration that is measured."""


def _dtype(tokens: bool) -> type[np.generic]:
    return np.int64 if tokens else np.float32


def _quantized(weighted: nn.ModuleDict) -> nn.ModuleDict:
    """Quantizes all modules, which must be wrapped: a bare LSTM comes back as it was.

    Raises:
        Unavailable: PyTorch no longer has dynamic quantization, or left a module in fp32.
    """
    from torch import nn  # noqa: PLC0415 - optional

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao.quantization is deprecated; nothing replaces it
        try:
            from torch.ao.quantization import quantize_dynamic  # noqa: PLC0415 - may be gone
        except ImportError as error:
            raise Unavailable(f"this PyTorch has no dynamic quantization: {error}") from None
        quantized: nn.ModuleDict = quantize_dynamic(weighted, {nn.LSTM, nn.GRU, nn.Linear})
    left = [type(m).__name__ for m in quantized.values() if "quantized" not in type(m).__module__]
    if left:
        raise Unavailable(f"dynamic quantization left {', '.join(left)} in fp32")
    return quantized


@contextmanager
def _onednn(enabled: bool) -> Iterator[None]:
    """Switches oneDNN for the process."""
    from torch.backends import mkldnn  # noqa: PLC0415 - optional

    before = mkldnn.enabled
    mkldnn.enabled = enabled
    try:
        yield
    finally:
        mkldnn.enabled = before
