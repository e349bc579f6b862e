"""The number formats of weights, defined once for training, files, interpreters and targets.

`precision` says what every format can do and lists them; `bf16`, `int8` and `fixed` hold the
arithmetic, `activation_table` the accelerator's sigmoid and tanh.
Every definition is exact: NumPy here, PyTorch in training and C in the runtime give the same bits.
docs/spec/precision.md is the same in words. `functions` are those of real vectors.
"""

from csbrnn.numerics.activation_table import (
    ACTIVATION_FRAC,
    MAGNITUDE_BITS,
    TanhTable,
    sigmoid_fixed,
    tanh_fixed,
    tanh_table,
)
from csbrnn.numerics.bf16 import bf16_from_fp32, fp32_from_bf16
from csbrnn.numerics.fixed import (
    MAX_WEIGHT_FRAC,
    Ints,
    fixed_frac,
    fixed_from_real,
    largest_value,
    min_weight_frac,
    round_shift,
    saturate,
)
from csbrnn.numerics.functions import log_softmax, softmax
from csbrnn.numerics.int8 import (
    LARGEST,
    MAX_COLUMNS,
    MAX_SCALE,
    MIN_SCALE,
    UNUSED_SCALE_BITS,
    int8_product,
    is_scale,
    quantize_vector,
    scale_of,
)
from csbrnn.numerics.precision import (
    BF16,
    FIXED12,
    FIXED16,
    FP32,
    INT8,
    PRECISIONS,
    Precision,
    Quantized,
    check_weight,
    precision_of,
)

__all__ = [
    "ACTIVATION_FRAC",
    "BF16",
    "FIXED12",
    "FIXED16",
    "FP32",
    "INT8",
    "LARGEST",
    "MAGNITUDE_BITS",
    "MAX_COLUMNS",
    "MAX_SCALE",
    "MAX_WEIGHT_FRAC",
    "MIN_SCALE",
    "PRECISIONS",
    "UNUSED_SCALE_BITS",
    "Ints",
    "Precision",
    "Quantized",
    "TanhTable",
    "bf16_from_fp32",
    "check_weight",
    "fixed_frac",
    "fixed_from_real",
    "fp32_from_bf16",
    "int8_product",
    "is_scale",
    "largest_value",
    "log_softmax",
    "min_weight_frac",
    "precision_of",
    "quantize_vector",
    "round_shift",
    "saturate",
    "scale_of",
    "sigmoid_fixed",
    "softmax",
    "tanh_fixed",
    "tanh_table",
]
