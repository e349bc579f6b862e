"""The number formats of weights, defined once for training, files, interpreters and targets.

`precision` says what every format can do and lists them; `bf16` and `int8` hold the arithmetic.
Every definition is exact: NumPy here, PyTorch in training and C in the runtime give the same bits.
docs/spec/precision.md is the same in words.
"""

from csbrnn.numerics.bf16 import bf16_from_fp32, fp32_from_bf16
from csbrnn.numerics.int8 import (
    LARGEST,
    MAX_COLUMNS,
    MAX_SCALE,
    MIN_SCALE,
    int8_product,
    is_scale,
    quantize_vector,
    scale_of,
)
from csbrnn.numerics.precision import (
    BF16,
    FP32,
    INT8,
    PRECISIONS,
    Precision,
    Quantized,
    check_weight,
    precision_of,
)

__all__ = [
    "BF16",
    "FP32",
    "INT8",
    "LARGEST",
    "MAX_COLUMNS",
    "MAX_SCALE",
    "MIN_SCALE",
    "PRECISIONS",
    "Precision",
    "Quantized",
    "bf16_from_fp32",
    "check_weight",
    "fp32_from_bf16",
    "int8_product",
    "is_scale",
    "precision_of",
    "quantize_vector",
    "scale_of",
]
