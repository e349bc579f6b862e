from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.accelerator.isa import (
    INSTRUCTION_BITS,
    INSTRUCTIONS,
    Next,
    Run,
    Vop,
    Wait,
    decode_instruction,
    decode_strips,
    decode_words,
    encode_instruction,
    encode_strips,
    encode_words,
    word_fields,
)
from csbrnn.errors import ArgumentError, UnsupportedModelError

from .models import ARCH, ARCHES


@st.composite
def instructions(draw):
    kind = draw(st.sampled_from(INSTRUCTIONS))
    return kind(**{n: draw(st.integers(0, (1 << f.width) - 1)) for n, f in kind.FIELDS.items()})


@given(instructions())
def test_bits_and_back(instruction):
    word = encode_instruction(instruction)
    assert 0 < word < 1 << INSTRUCTION_BITS
    assert decode_instruction(word) == instruction


def test_fields_don_t_overlap():
    for kind in INSTRUCTIONS:
        used = set(range(4))
        for field in kind.FIELDS.values():
            bits = set(range(field.low, field.low + field.width))
            assert not used & bits
            used |= bits
        assert max(used) < INSTRUCTION_BITS


@pytest.mark.parametrize("word", [0, 8, 15, 1 | 1 << 100])
def test_words_that_are_no_instruction(word):
    with pytest.raises(ArgumentError, match=r"opcode must be|without a meaning"):
        decode_instruction(word)


def test_all_values_that_don_t_fit():
    with pytest.raises(ArgumentError, match=r"VOP: n must lie in 0\.\.4095, not 5000; .*act must"):
        encode_instruction(Vop(n=5000, act=4))
    assert encode_instruction(Wait(3)) == 2 | 3 << 4
    assert encode_instruction(Run(1, 5)) == 1 | 1 << 4 | 5 << 5


@pytest.mark.parametrize(
    ("size", "most"),
    [
        ("program", Next.FIELDS["target"].largest + 1),
        ("x", Vop.FIELDS["x"].largest + 1),
        ("y", Vop.FIELDS["row"].largest + 1),
        ("vector", Vop.FIELDS["v"].largest + 1),
        ("queue", Wait.FIELDS["count"].largest),
        ("max_shift", Run.FIELDS["shift"].largest),
    ],
)
def test_the_largest_sizes_are_what_fields_can_say(size, most):
    with pytest.raises(UnsupportedModelError, match=rf"{size} must lie in \d+\.\.{most}, not"):
        replace(ARCH, **{size: most + 1})


@pytest.mark.parametrize("arch", ARCHES.values(), ids=ARCHES)
def test_words_and_strips(arch):
    rng, count = np.random.default_rng(0), 40
    top = (1 << (arch.weight_bits - 1)) - 1
    weights = rng.integers(-top, top + 1, (count, arch.lanes))
    x = rng.integers(0, arch.x, count)
    flags = rng.random((3, count)) < 0.5
    limbs = encode_words(arch, weights, x, *flags)
    assert limbs.shape == (count, -(-arch.word_bits // 32))
    decoded = decode_words(arch, limbs)
    np.testing.assert_array_equal(decoded["weights"], weights)
    np.testing.assert_array_equal(decoded["x"], x)
    for name, flag in zip(("last", "end", "wrap"), flags, strict=True):
        np.testing.assert_array_equal(decoded[name], flag)
    rows = rng.integers(0, arch.y, (count, arch.lanes))
    np.testing.assert_array_equal(decode_strips(arch, encode_strips(arch, rows)), rows)
    fields = word_fields(arch)
    # One word by hand, from the field table.
    expected = fields["x"].put(int(x[0]))
    for q in range(arch.lanes):
        expected |= fields[f"w{q}"].put(int(weights[0, q]) & ((1 << arch.weight_bits) - 1))
    for name, flag in zip(("last", "end", "wrap"), flags, strict=True):
        expected |= fields[name].put(int(flag[0]))
    assert sum(int(limb) << (32 * k) for k, limb in enumerate(limbs[0])) == expected
