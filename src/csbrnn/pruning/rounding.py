"""Rounding of weights to a precision, in PyTorch: the same bits as `csbrnn.numerics`.

docs/spec/precision.md is the definition. Each step is one operation on tensors, so on every device
a product and a sum are rounded apart.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import Tensor

from csbrnn.numerics import (
    BF16,
    FIXED12,
    FIXED16,
    FP32,
    INT8,
    LARGEST,
    MAX_WEIGHT_FRAC,
    MIN_SCALE,
    UNUSED_SCALE_BITS,
    Precision,
    largest_value,
    min_weight_frac,
)

__all__ = ["ROUNDING_DTYPES", "rounded", "straight_through"]

ROUNDING_DTYPES: Final = (torch.float32, torch.float64)
"""Dtypes that hold every rounded weight exactly; value * scale in int8 has up to 24 bits."""

_LARGEST_BF16: Final = float(torch.finfo(torch.bfloat16).max)


def rounded(weight: Tensor, precision: Precision) -> Tensor:
    """Returns what is left of a weight matrix in ``precision``, as a new tensor without a graph.

    Zeros stay zero. A NaN or an infinity makes its whole row NaN in int8, all of it in fixed point.

    Shape:
        ``(outputs, inputs)``, float32 or float64 (rounded to float32 first); dtype is kept.
    """
    with torch.no_grad():
        return _ROUND[precision](weight.detach().float()).to(weight.dtype)


def straight_through(weight: Tensor, precision: Precision) -> Tensor:
    """Returns ``rounded(weight, precision)`` whose gradient goes to ``weight`` unchanged.

    Shape:
        As :func:`rounded`.

    Reference:
        Bengio et al., "Estimating or propagating gradients through stochastic neurons" (2013).
    """
    result: Tensor = _StraightThrough.apply(weight, precision)  # type: ignore[no-untyped-call]
    return result


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, precision: Precision) -> Tensor:
        return rounded(weight, precision)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0], None


# Each takes a float32 matrix, which it leaves alone, and returns a new one.


def _round_fp32(weight: Tensor) -> Tensor:
    return weight.clone()


def _round_bf16(weight: Tensor) -> Tensor:
    return weight.clamp(-_LARGEST_BF16, _LARGEST_BF16).to(torch.bfloat16).float()


def _round_int8(weight: Tensor) -> Tensor:
    if weight.numel() == 0:
        return weight.clone()
    # One buffer for all: this is bound by memory. aminmax along rows takes ten times as long.
    buffer = weight.abs()
    scale = buffer.amax(dim=1, keepdim=True) * (1 / LARGEST)
    unused = 1 << UNUSED_SCALE_BITS
    scale = ((scale.view(torch.int32) + unused // 2) & -unused).view(torch.float32)
    scale = torch.where(scale < MIN_SCALE, 0, scale)
    inverse = torch.where(scale > 0, 1 / scale, 0)
    # By a row's own scale no value comes near 127.5: the clamp of the definition has no effect.
    # Adding zero turns -0 into 0, as an integer has it.
    return torch.mul(weight, inverse, out=buffer).round_().mul_(scale).add_(0.0)


def _round_fixed(weight: Tensor, bits: int) -> Tensor:
    if weight.numel() == 0:
        return weight.clone()
    # As csbrnn.numerics.fixed_frac, without leaving the device. Powers of two are exact.
    largest = weight.abs().amax()
    mantissa, exponent = torch.frexp(largest.double())
    frac = bits - 1 - exponent
    frac = frac - (torch.round(mantissa * 2.0 ** (bits - 1)) > largest_value(bits)).int()
    frac = torch.where(largest > 0, frac, MAX_WEIGHT_FRAC)
    frac = frac.clamp(min_weight_frac(bits), MAX_WEIGHT_FRAC)
    scaled = torch.ldexp(weight.double(), frac).round_()
    limited = scaled.clamp_(-largest_value(bits), largest_value(bits))
    finite = torch.where(torch.isfinite(largest), limited, torch.nan)
    return torch.ldexp(finite, -frac).float().add_(0.0)


_ROUND: Final[dict[Precision, Callable[[Tensor], Tensor]]] = {
    FP32: _round_fp32,
    BF16: _round_bf16,
    INT8: _round_int8,
    FIXED16: partial(_round_fixed, bits=16),
    FIXED12: partial(_round_fixed, bits=12),
}
