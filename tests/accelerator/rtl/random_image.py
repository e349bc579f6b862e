"""Random matrices under random programs: an image that no compiler would make."""

import numpy as np

from csbrnn.accelerator import Arch, Image, OutputPart, compile_model
from csbrnn.accelerator.isa import End, In, Jump, Next, Run, Vop, Wait
from csbrnn.accelerator.strips import StreamWords
from csbrnn.formats import DenseMatrix
from csbrnn.model import Features, Linear, PackedModel
from csbrnn.numerics import Ints

SEGMENTS = 3
SLOTS = 16
"""Vector memory is used in areas of this many places, so that slots stay aligned."""

ARCHS = {
    "2x2x2": Arch(
        "2x2x2", groups=2, streams=2, lanes=2, x_write=2, words=128, strips=32, x=64, y=16,
        vector=64, program=32, queue=4,
    ),
    "1x1x1": Arch(
        "1x1x1", groups=1, streams=1, lanes=1, x_write=1, words=128, strips=32, x=32, y=16,
        vector=64, program=32, queue=3, max_shift=0, segments=16,
    ),
    "3x1x4": Arch(
        "3x1x4", groups=3, streams=1, lanes=4, x_write=1, words=128, strips=32, x=63, y=13,
        vector=50, program=32, queue=4, weight_bits=12, vector_bits=24, max_shift=7, acc_bits=48,
    ),
}  # fmt: skip


def random_image(arch: Arch, seed: int) -> Image:
    """An image with one input, three segments, and VOPs of every kind in a step."""
    rng = np.random.default_rng(seed)
    length = int(rng.integers(1, arch.x // 2))
    program, outputs, size = _program(rng, arch, length)
    top = 1 << (arch.vector_bits - 1)
    return Image(
        arch=arch,
        program=program,
        streams=tuple(
            tuple(_stream(rng, arch) for _ in range(arch.streams)) for _ in range(arch.groups)
        ),
        vector=rng.integers(-top, top, (arch.groups, arch.vector)),
        x=rng.integers(-(1 << 15), 1 << 15, arch.x),
        input_length=length,
        outputs=outputs,
        output_size=size,
        kept=1,
        segment_names=("a", "b", "c"),
    )


def many_outputs(arch: Arch) -> tuple[Image, Ints]:
    """An image that puts out more beats than the output queue holds, and inputs for it."""
    rng = np.random.default_rng(0)
    weight = DenseMatrix(rng.normal(0, 1, (14 * arch.groups, 1)).astype(np.float32))
    model = PackedModel((Linear("out", ("input",), weight),), Features(1), "out")
    return compile_model(model, arch).image, rng.integers(-(1 << 15), 1 << 15, (7, 1))


def _stream(rng, arch):
    """Strips of 4 .. 8 words (no closer than updates of a row may be), and empty segments."""
    # Few enough bits that the largest row total fits acc_bits.
    top = 1 << min(arch.weight_bits - 1, arch.acc_bits - 16 - arch.max_shift - 9)
    weights, x, last, end, rows, counts = [], [], [], [], [], []
    for _ in range(SEGMENTS):
        before = len(x)
        strips = int(rng.integers(0, 4))
        if not strips:
            weights, x, last = [*weights, [0] * arch.lanes], [*x, 0], [*last, False]
        for _ in range(strips):
            count = int(rng.integers(4, 9))
            weights += rng.integers(1 - top, top, (count, arch.lanes)).tolist()
            x += rng.integers(0, arch.x, count).tolist()
            last += [False] * (count - 1) + [True]
            rows.append(rng.integers(0, arch.y - 1, arch.lanes))
        end += [False] * (len(x) - before - 1) + [True]
        counts.append(len(x) - before)
    return StreamWords(
        weights=np.array(weights, np.int64),
        x=np.array(x, np.int64),
        last=np.array(last, bool),
        end=np.array(end, bool),
        strips=np.array(rows, np.int64).reshape(-1, arch.lanes),
        segment_words=np.array(counts, np.int64),
    )


def _vop(rng, arch, half, emits):
    n = int(rng.integers(1, min(SLOTS, arch.y)))
    if emits:
        n = min(n, arch.x // arch.groups)
    flag = lambda: int(rng.integers(2))  # noqa: E731
    area = lambda: int(rng.integers(arch.vector // SLOTS)) * SLOTS  # noqa: E731
    places = (arch.x - n * arch.groups) // arch.x_write + 1
    return Vop(
        n=n, row=int(rng.integers(0, arch.y - n)), drain=flag(), half=half,
        drain_shift=int(rng.integers(8, 20)), v_en=flag(), v=area(), a_en=flag(), a=area(),
        e_en=flag(), e=area(), d_en=flag(), d=area(), act=int(rng.integers(4)),
        combine=int(rng.integers(4)), x_en=flag() if emits else 0,
        x=int(rng.integers(places)) * arch.x_write if emits else 0,
        x_shift=int(rng.integers(8)), out=int(emits),
    )  # fmt: skip


def _program(rng, arch, length):
    shift = lambda: int(rng.integers(arch.max_shift + 1))  # noqa: E731
    vops = lambda half, count: [  # noqa: E731
        _vop(rng, arch, half, bool(rng.integers(2))) for _ in range(count)
    ]
    start = [In(length, 0), Run(0, shift())]
    body = [Run(1, shift()), Wait(1), *vops(0, 3), Wait(0), *vops(1, 3), Run(1, shift()), Wait(0)]
    body.append(_vop(rng, arch, 1, True))
    again = len(start) + len(body) + 2
    loop = [In(length, 0), Run(0, start[1].shift), Jump(len(start), int(rng.integers(2)))]
    program = (*start, *body, Next(again), End(), *loop)
    outputs, size = [], 0
    for code in body:
        if isinstance(code, Vop) and code.out:
            count = code.n * arch.groups
            place = np.arange(count)
            outputs.append(OutputPart(count, 15, place, size + place))
            size += count
    return program, tuple(outputs), size
