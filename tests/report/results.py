"""A study's result with figures made up by formulas, so that tests know what must come out."""

import math

RATES = (4.0, 8.0, 16.0, 32.0)
WEIGHTS = 1_000_000
DENSE = 2.0
#: label -> pattern, loss at a rate of 2 (it grows with the rate's logarithm), bits a kept weight,
#: us a step at rate 1.
PATTERNS = {
    "unstructured": ("unstructured()", 0.01, 16.0, None),
    "stripes of 4": ("csb(block=4x64,row_group=4)", 0.0125, 9.6, 20.0),
    "row-balanced": ("row_balanced()", 0.012, 14.0, 40.0),
    "new": ("new_pattern(size=3)", 0.02, 9.0, 30.0),
}
FRIENDLY = {"dense": True, "unstructured": False, "stripes of 4": True, "row-balanced": False}


def gap(label, rate):
    return PATTERNS[label][1] * math.log2(rate)


def make_result(seeds=(0, 1), patterns=PATTERNS, lower_is_better=True, methods=("admm",)):
    sign = 1 if lower_is_better else -1
    rows = [
        _row("dense", "dense", "", 1.0, seed, DENSE + 0.002 * seed, None, 8.0, 60.0)
        for seed in seeds
    ]
    for label in patterns:
        pattern, _, bits, us = PATTERNS[label]
        for method in methods:
            for rate in RATES:
                for seed in seeds:
                    loss = gap(label, rate) * sign
                    value = DENSE + 0.002 * seed + loss
                    time = None if us is None else 2 + us / rate
                    rows.append(_row(label, pattern, method, rate, seed, value, loss, bits, time))
    return {
        "kind": "study",
        "name": "made-up",
        "task": {"name": "t", "metric": "bits per character", "lower_is_better": lower_is_better},
        "recipe": {"network": {"hidden_size": 512, "dropout": 0.1}},
        "timing": {"environment": {"cpu": "Some CPU"}},
        "rows": rows,
    }


def _row(label, pattern, method, rate, seed, value, loss, bits, us):
    kept = round(WEIGHTS / rate)
    return {
        "label": label,
        "pattern": pattern,
        "hardware_friendly": FRIENDLY.get(label),
        "method": method,
        "pruning_rate": rate,
        "seed": seed,
        "metric": "bits per character",
        "value": value,
        "stderr": 0.01,
        "gap": loss,
        "gap_stderr": None if loss is None else 0.002,
        "value_int8": value + 0.001,
        "kept_weights": None if label == "dense" else kept,
        "total_weights": None if label == "dense" else WEIGHTS,
        "total_bits_int8": kept * bits,
        "total_bits_fp32": kept * (bits + 24),
        "nbytes_int8": kept * bits / 8 + 40_000,
        "us_per_step": us,
        "machine": "Some CPU",
    }
