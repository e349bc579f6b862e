"""PyTorch, in every configuration that someone in earnest would try.

`torch.nn.LSTM` as it is repacks its weights for oneDNN on every call, which costs a step at batch 1
several times its work; turning oneDNN off, stepping with `LSTMCell`, or writing the products out
avoids it. All run under `torch.inference_mode`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, ClassVar, Final

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
from csbrnn.model import Features, PackedModel, Recurrent

if TYPE_CHECKING:
    from torch import Tensor, nn

    from csbrnn.bench.torch_network import Stepper

__all__ = ["PYTORCH", "PYTORCH_COMPILED", "PyTorch"]

_LEADING: Final = {"module": (1, 1), "cell": (1,), "product": ()}


class PyTorch(Contender):
    """A model run by PyTorch.

    Args:
        variant: Name of the configuration.
        kind: "module" (`torch.nn.LSTM`), "cell" (`torch.nn.LSTMCell`) or "product".
        precision: "fp32" or "int8" (dynamic quantization; modules and cells only).
        onednn: Whether oneDNN is used.
        compiled: Whether a step goes through `torch.compile`, which needs a C++ compiler.
    """

    name: ClassVar[str] = "pytorch"

    def __init__(
        self,
        variant: str,
        kind: str,
        precision: str = "fp32",
        onednn: bool = True,
        compiled: bool = False,
    ) -> None:
        self.variant, self.precision = variant, precision
        self._kind, self._onednn, self._compiled = kind, onednn, compiled

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
            if self._compiled:
                torch.compiler.reset()

    def _prepare(self, model: PackedModel) -> Prepared:
        import torch

        from csbrnn.bench.torch_network import network
        from csbrnn.nn import to_torch

        modules = to_torch(model)
        if self.precision == "int8":
            _quantize(modules, modules_only=self._kind == "module")
        layers = [layer for layer in model.layers if layer.matrices]
        weighted: list[nn.Module | Stepper] = [
            self._stepper(layer, module) if isinstance(layer, Recurrent) else module
            for layer, module in zip(layers, modules.children(), strict=True)
        ]
        steppers = [layer for layer in weighted if not isinstance(layer, torch.nn.Module)]
        run = network(model, weighted)
        if self._compiled:
            run = _compile(run)
        leading, dtype = _LEADING[self._kind], _input_dtype(model)
        features = (model.input.size,) if isinstance(model.input, Features) else ()
        buffer = np.zeros((*leading, *features), dtype)
        x = torch.from_numpy(buffer)
        latest = x

        def step() -> None:
            nonlocal latest
            latest = run(x)

        def set_input(value: Array) -> None:
            buffer[...] = value

        def reset() -> None:
            for stepper in steppers:
                stepper.reset()

        def sequence(xs: Array) -> Callable[[], Array]:
            whole = torch.from_numpy(np.array(xs, dtype)[:, None])

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

    def _stepper(self, layer: Recurrent, module: nn.Module) -> Stepper:
        from csbrnn.bench import torch_network

        if self._kind == "module":
            return torch_network.ModuleStepper(layer, module)
        if self._kind == "cell":
            return torch_network.CellStepper(layer, self.precision)
        return torch_network.ProductStepper(layer)


PYTORCH: Final = (
    PyTorch("nn module", "module"),
    PyTorch("nn module, oneDNN off", "module", onednn=False),
    PyTorch("nn cell", "cell", onednn=False),
    PyTorch("fused product", "product", onednn=False),
    PyTorch("nn module, quantized", "module", precision="int8"),
    PyTorch("nn cell, quantized", "cell", precision="int8"),
)
"""Every configuration that is measured but those of `PYTORCH_COMPILED`."""

PYTORCH_COMPILED: Final = (PyTorch("nn cell, compiled", "cell", compiled=True),)
"""Those that take long to open."""


def _input_dtype(model: PackedModel) -> type[np.generic]:
    return np.float32 if isinstance(model.input, Features) else np.int64


def _quantize(modules: nn.Module, *, modules_only: bool) -> None:
    """Quantizes the modules within, in place. A bare LSTM would be left as it was.

    Args:
        modules: Children are the model's layers.
        modules_only: Whether recurrent layers run as they are here; cells are quantized elsewhere.

    Raises:
        UnavailableError: PyTorch no longer has dynamic quantization, or left a module in fp32.
    """
    from torch import nn

    from csbrnn.bench.torch_network import quantize_dynamic

    quantize_dynamic(modules, {nn.LSTM, nn.GRU, nn.Linear})
    left = [
        f"{name} ({type(module).__name__})"
        for name, module in modules.named_children()
        if "quantized" not in type(module).__module__
        and (modules_only or isinstance(module, nn.Linear))
        and not isinstance(module, nn.Embedding)
    ]
    if left:
        raise UnavailableError(f"dynamic quantization left fp32: {', '.join(left)}")


def _compile(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """`torch.compile`, for one shape.

    Raises:
        UnavailableError: There is no C++ compiler, which it needs on a CPU.
    """
    import torch

    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UnavailableError("torch.compile needs a C++ compiler on this machine")
    compiled: Callable[[Tensor], Tensor] = torch.compile(run, dynamic=False)
    return compiled


@contextmanager
def _onednn(enabled: bool) -> Iterator[None]:
    """Switches oneDNN for the process."""
    from torch.backends import mkldnn

    before = mkldnn.enabled
    setattr(mkldnn, "enabled", enabled)  # noqa: B010 - a property of the module, unknown to mypy
    try:
        yield
    finally:
        setattr(mkldnn, "enabled", before)  # noqa: B010
