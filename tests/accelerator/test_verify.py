"""What the engine relies on: each rule broken on purpose."""

from dataclasses import replace

import numpy as np
import pytest

from csbrnn.accelerator import Image, compile_model, image_problems, verify_image
from csbrnn.accelerator.isa import End, In, Jump, Next, Run, Vop, Wait
from csbrnn.errors import UnsupportedModelError

from .models import ARCH, cell_model


@pytest.fixture(scope="module")
def image():
    return compile_model(
        cell_model(np.random.default_rng(0), "lstm", layers=2, outputs=3), ARCH
    ).image


def with_code(image: Image, edit):
    """The image with some instructions changed: position -> instruction, or None to drop it."""
    program = [edit.get(pc, code) for pc, code in enumerate(image.program)]
    return replace(image, program=tuple(code for code in program if code is not None))


def with_stream(image: Image, change):
    """The image with its first stream changed."""
    (first, *rest), *groups = image.streams
    return replace(image, streams=((change(first), *rest), *groups))


def find(image, kind, skip=0):
    return [pc for pc, code in enumerate(image.program) if isinstance(code, kind)][skip]


def test_a_compiled_image_has_no_problems(image):
    assert image_problems(image) == []


@pytest.mark.parametrize("kind", [Wait])
def test_every_wait_is_needed(image, kind):
    """Without any one of the waits, something is drained or overwritten too early."""
    waits = [pc for pc, code in enumerate(image.program) if isinstance(code, kind)]
    assert len(waits) >= 3
    for pc in waits:
        later = replace(image.program[pc], count=15)
        problems = image_problems(with_code(image, {pc: later}))
        assert any("WAIT for it first" in p for p in problems), pc


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda i: with_code(i, {find(i, End): Wait(0)}), "doesn't come to END|runs off|post"),
        (lambda i: with_code(i, {find(i, Jump): End()}), "inputs|segments"),
        (lambda i: with_code(i, {find(i, Next): Next(999)}), "there is no instruction 999"),
        (lambda i: with_code(i, {find(i, Run): Run(0, 7)}), "shift 7 is more than max_shift, 4"),
        (lambda i: with_code(i, {find(i, In): In(5, 510)}), "exceed the 512 values of x"),
        (lambda i: with_code(i, {find(i, In): In(5, 3)}), "must be a multiple of 2"),
        (lambda i: with_code(i, {find(i, In): In(0, 0)}), "a count of 0"),
        (lambda i: with_code(i, {find(i, In): In(4, 0)}), "takes 4 values of the input"),
        (
            lambda i: with_code(i, {find(i, Vop): replace(i.program[find(i, Vop)], row=254)}),
            "exceed y, or are the dump row",
        ),
        (
            lambda i: with_code(i, {find(i, Vop): replace(i.program[find(i, Vop)], v=1023)}),
            "exceed the vector memory, 1024",
        ),
        (
            lambda i: with_code(
                i, {find(i, Vop): replace(i.program[find(i, Vop)], v_en=1, v=5, d_en=1, d=6)}
            ),
            "d overlaps v in part",
        ),
        (
            lambda i: with_code(i, {find(i, Vop): replace(i.program[find(i, Vop)], drain=0)}),
            "still holds sums",
        ),
        (
            lambda i: with_code(i, {find(i, Vop): replace(i.program[find(i, Vop)], half=1)}),
            "it drains half 1, to which segment .* may still be adding",
        ),
        (lambda i: replace(i, vector=i.vector + (1 << 19)), "values beyond 20 bits"),
        (lambda i: replace(i, program=()), "must end in END or JUMP"),
        (lambda i: replace(i, streams=i.streams[:2]), "must be 4 groups of 3"),
        (lambda i: with_stream(i, lambda s: s._replace(x=s.x + 600)), "reads x beyond the 512"),
        (lambda i: with_stream(i, lambda s: s._replace(strips=s.strips + 256)), "rows beyond"),
        (
            lambda i: with_stream(i, lambda s: s._replace(weights=s.weights * 0 + 40000)),
            "weights must lie in -32767..32767",
        ),
        (
            lambda i: with_stream(i, lambda s: s._replace(strips=s.strips[:-1])),
            "words end a strip, but there are",
        ),
        (
            lambda i: with_stream(i, lambda s: s._replace(segment_words=s.segment_words + 1)),
            "must end with the last segment",
        ),
        (
            lambda i: with_stream(i, lambda s: s._replace(segment_words=s.segment_words[1:])),
            "equally many segments",
        ),
        (
            lambda i: with_stream(
                i,
                lambda s: s._replace(strips=np.concatenate([s.strips[:1] * 0 + 250, s.strips[1:]])),
            ),
            "still holds sums",
        ),
        (lambda i: replace(i, arch=replace(i.arch, words=20)), "20 fit the memory"),
        (lambda i: replace(i, arch=replace(i.arch, program=8)), "8 fit the memory"),
        (lambda i: replace(i, arch=replace(i.arch, acc_bits=32)), r"beyond 32 bits \(acc_bits\)"),
    ],
)
def test_broken_images(image, make, message):
    with pytest.raises(UnsupportedModelError, match=message):
        verify_image(make(image))


def test_a_row_that_is_updated_too_soon(image):
    """Two strips of one word on one row: the second reads what the first has not written yet."""

    def squeeze(s):
        strips = s.strips.copy()
        strips[1] = strips[0]
        last = s.last.copy()
        at = np.flatnonzero(last)
        last[at[0]] = False
        last[at[1] - 1] = True
        return s._replace(strips=strips, last=last)

    assert any("loses the first update" in p for p in image_problems(with_stream(image, squeeze)))


def test_what_is_written_while_it_is_read(image):
    """The input goes to where the linear layer's products still read h."""
    pc = find(image, In, 1)
    x, _ = image.regions["rnn.h_l1[0:12]"]
    moved = with_code(image, {pc: In(image.input_length, x)})
    assert any("may still be reading" in p for p in image_problems(moved))


def test_slots_that_the_vop_before_writes_later(image):
    pc = find(image, Vop)
    first = Vop(2, v_en=1, v=900, d_en=1, d=900)
    second = Vop(2, v_en=1, v=901, d_en=1, d=950)
    program = [*image.program[:pc], first, second, *image.program[pc:]]
    shifted = [
        replace(c, target=c.target + 2 * (c.target > pc)) if isinstance(c, Next | Jump) else c
        for c in program
    ]
    problems = image_problems(replace(image, program=tuple(shifted)))
    assert any("writes later: 901 against 900" in p for p in problems)
