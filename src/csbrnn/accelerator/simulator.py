"""The functional simulator: what an image's memories and instructions compute, to the bit.

It executes the encoded program on the decoded memories, one instruction at a time, with no notion
of time: a verified program gives the same result however its overlapping parts are interleaved.
Whole segments are done at once in NumPy. Sums are exact: they stay far below 2^53.
"""

from __future__ import annotations

import numpy as np

from csbrnn.accelerator.arch import X_BITS
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.interpreter import vector_arithmetic
from csbrnn.accelerator.isa import (
    End,
    In,
    Jump,
    Next,
    Run,
    Vop,
    Wait,
    decode_instruction,
    decode_strips,
    decode_words,
)
from csbrnn.errors import ArgumentError
from csbrnn.numerics import Ints, round_shift, saturate

__all__ = ["Simulator", "run_image"]


def run_image(image: Image, xs: Ints) -> Ints:
    """Return the outputs of a sequence of steps, from the image's initial states.

    Shape:
        xs: (steps, input_length), 16-bit integers
        returns: (steps, output_size), 16-bit integers
    """
    return Simulator(image).run(xs)


class _Segment:
    """One segment of all streams, flattened: words, then strips."""

    def __init__(self, weights: Ints, x: Ints, starts: Ints, rows: Ints) -> None:
        self.weights = weights.T.astype(np.float64).copy()  # (lanes, words)
        self.x = x
        self.starts = starts  # first word of each strip
        self.rows = rows  # (lanes, strips): group * y depth + row


class Simulator:
    """An engine with its memories loaded.

    Args:
        image: What is loaded; read back from its bits.

    Attributes:
        vector: Vector memories. Shape: (groups, depth)
        x: The copies of x, which are all alike. Shape: (depth,)
        y: Sums over the banks of each group. Shape: (2, groups, depth)
    """

    def __init__(self, image: Image) -> None:
        self._image, self._arch = image, image.arch
        self._program = [decode_instruction(word) for word in image.program_words()]
        self._segments = _decode(image)
        self.vector = image.vector.copy()
        self.x = image.x.copy()
        self.y = np.zeros((2, self._arch.groups, self._arch.y), np.int64)
        self._parity = self._next_segment = 0

    def run(self, xs: Ints) -> Ints:
        """Run as many steps as there are inputs, and keep the states for the next call.

        Shape:
            xs: (steps, input_length)
            returns: (steps, output_size)

        Raises:
            ArgumentError: There is no step, or inputs are not 16-bit integers.
        """
        packets = self.packets(xs)
        per_step = len(self._image.outputs)
        return np.stack(
            [
                self._image.collect(packets[t * per_step : (t + 1) * per_step])
                for t in range(len(xs))
            ]
        )

    def packets(self, xs: Ints) -> list[Ints]:
        """Run as `run` does, and return what the output stream carries, packet by packet.

        Shape:
            xs: (steps, input_length)
            returns: (values,) each

        Raises:
            ArgumentError: There is no step, or inputs are not 16-bit integers.
        """
        xs = np.asarray(xs)
        low, high = -(1 << (X_BITS - 1)), (1 << (X_BITS - 1)) - 1
        if xs.ndim != 2 or not len(xs) or xs.shape[1] != self._image.input_length:
            raise ArgumentError(
                f"xs must have shape (steps, {self._image.input_length}) with at least one step,"
                f" not {xs.shape}"
            )
        if not np.issubdtype(xs.dtype, np.integer) or xs.min() < low or xs.max() > high:
            raise ArgumentError(f"xs must hold integers in {low}..{high}")
        packets: list[Ints] = []
        pc, left, self._parity, taken = 0, len(xs), 0, 0
        while True:
            code = self._program[pc]
            pc += 1
            match code:
                case Run(half=half, shift=shift):
                    self._run(half ^ self._parity, shift)
                case Vop():
                    packet = self._vop(code)
                    if code.out:
                        packets.append(packet)
                case In(x=at):
                    beats = self._image.beats(xs[taken].astype(np.int64)).reshape(-1)
                    self.x[at : at + len(beats)] = beats
                    taken += 1
                case Next(target=target):
                    left -= 1
                    pc = target if left else pc
                case Jump(target=target, toggle=toggle):
                    pc = target
                    self._parity ^= toggle
                case Wait():
                    pass
                case End():
                    return packets

    def _run(self, half: int, shift: int) -> None:
        segment = self._segments[self._next_segment]
        self._next_segment = (self._next_segment + 1) % len(self._segments)
        if not len(segment.starts):
            return
        x = (self.x << shift).astype(np.float64)[segment.x]
        y = self.y[half].reshape(-1)
        for weights, rows in zip(segment.weights, segment.rows, strict=True):
            sums = np.add.reduceat(weights * x, segment.starts)
            y += np.bincount(rows, sums, len(y)).astype(np.int64)

    def _vop(self, code: Vop) -> Ints:
        arch, n = self._arch, code.n
        total = None
        if code.drain:
            half = code.half ^ self._parity
            total = _wrap(self.y[half, :, code.row : code.row + n], arch.acc_bits)
            self.y[half, :, code.row : code.row + n] = 0

        def operand(enabled: int, at: int) -> Ints | None:
            return self.vector[:, at : at + n] if enabled else None

        result = vector_arithmetic(
            arch,
            total,
            code.drain_shift,
            operand(code.v_en, code.v),
            operand(code.a_en, code.a),
            operand(code.e_en, code.e),
            code.act,
            code.combine,
        )
        result = np.broadcast_to(result, (arch.groups, n))
        if code.d_en:
            self.vector[:, code.d : code.d + n] = result
        h = saturate(round_shift(result, code.x_shift), X_BITS).T.reshape(-1)
        if code.x_en:
            self.x[code.x : code.x + len(h)] = h
        return h


def _wrap(v: Ints, bits: int) -> Ints:
    half = 1 << (bits - 1)
    return ((v + half) & ((1 << bits) - 1)) - half


def _decode(image: Image) -> list[_Segment]:
    arch = image.arch
    pieces: list[list[tuple[Ints, Ints, Ints, Ints]]] = []
    for g, group in enumerate(image.words):
        for p, limbs in enumerate(group):
            fields = decode_words(arch, limbs)
            rows = decode_strips(arch, image.strips[g][p]) + g * arch.y
            ends = np.flatnonzero(fields["end"]) + 1
            word = strip = 0
            for number, end in enumerate(ends):
                if number == len(pieces):
                    pieces.append([])
                last = np.flatnonzero(fields["last"][word:end])
                used = int(last[-1]) + 1 if len(last) else 0
                starts = np.concatenate([np.zeros(min(1, used), np.int64), last[:-1] + 1])
                pieces[number].append(
                    (
                        fields["weights"][word : word + used],
                        fields["x"][word : word + used],
                        starts,
                        rows[strip : strip + len(last)],
                    )
                )
                word, strip = int(end), strip + len(last)
    segments = []
    for piece in pieces:
        counts = np.cumsum([0, *(len(x) for _, x, _, _ in piece)])[:-1]
        segments.append(
            _Segment(
                np.concatenate([w for w, *_ in piece]),
                np.concatenate([x for _, x, _, _ in piece]),
                np.concatenate([s + at for (_, _, s, _), at in zip(piece, counts, strict=True)]),
                np.concatenate([r for *_, r in piece]).T.copy(),
            )
        )
    return segments
