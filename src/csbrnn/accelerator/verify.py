"""Checks images before they are loaded: an executable statement of what the engine relies on.

docs/spec/accelerator.md lists what a program guarantees. The memories are checked as they are; the
program is followed through three rounds of its loop, with a record of which segments are posted,
which are known to be finished, and which rows of y hold sums. Nothing here trusts the compiler.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import TIMING, X_BITS, Arch
from csbrnn.accelerator.image import Image
from csbrnn.accelerator.isa import Combine, End, In, Instruction, Jump, Next, Run, Vop, Wait
from csbrnn.accelerator.strips import StreamWords
from csbrnn.errors import ArgumentError, UnsupportedModelError

__all__ = ["image_problems", "verify_image"]

_ROUNDS = 3
"""Steps that the program is followed for: the third begins as every later one does."""

_MOST_REASONS = 20


def verify_image(image: Image) -> None:
    """Refuse an image that could overrun a memory, hang, or compute something else than it says.

    Raises:
        UnsupportedModelError: With the problems found.
    """
    if found := image_problems(image):
        more = len(found) - _MOST_REASONS
        shown = found[:_MOST_REASONS] + ([f"and {more} more"] if more > 0 else [])
        raise UnsupportedModelError("not a valid image", shown)


def image_problems(image: Image) -> list[str]:
    """Everything that is wrong with an image, each line naming its place."""
    arch = image.arch
    found = _encoding_problems(image)
    if len(image.streams) != arch.groups or any(len(g) != arch.streams for g in image.streams):
        return [*found, f"streams must be {arch.groups} groups of {arch.streams}"]
    counts = {len(s.segment_words) for group in image.streams for s in group}
    if len(counts) != 1:
        return [*found, f"streams must have equally many segments, not {sorted(counts)}"]
    for g, group in enumerate(image.streams):
        for p, stream in enumerate(group):
            found += [f"group {g}, stream {p}: {t}" for t in _stream_problems(arch, stream)]
    found += _memory_problems(image)
    return found or _Follower(image, counts.pop()).run()


def _encoding_problems(image: Image) -> list[str]:
    arch, found = image.arch, []
    if len(image.program) > arch.program:
        found.append(
            f"the program has {len(image.program)} instructions; {arch.program} fit the memory"
        )
    if not image.program or not isinstance(image.program[-1], End | Jump):
        found.append("the program must end in END or JUMP, so that it never runs on")
    try:
        image.program_words()
    except ArgumentError as error:
        found.append(str(error))
    for pc, code in enumerate(image.program):
        found += [f"instruction {pc}: {text}" for text in _instruction_problems(image, code)]
    return found


def _instruction_problems(image: Image, code: Instruction) -> list[str]:
    arch = image.arch
    match code:
        case Next(target=target) | Jump(target=target):
            if not 0 <= target < len(image.program):
                return [f"there is no instruction {target} to go to"]
        case Run(shift=shift):
            if shift > arch.max_shift:
                return [f"shift {shift} is more than max_shift, {arch.max_shift}"]
        case In(count=count, x=x):
            return _x_problems(arch, x, -(-count // arch.x_write) * arch.x_write, count)
        case Vop():
            return _vop_problems(arch, code)
        case _:
            pass
    return []


def _x_problems(arch: Arch, x: int, length: int, count: int) -> list[str]:
    found = []
    if count < 1:
        found.append("a count of 0")
    if x % arch.x_write:
        found.append(f"x address {x} must be a multiple of {arch.x_write}")
    if x + length > arch.x:
        found.append(f"x {x}..{x + length - 1} exceed the {arch.x} values of x")
    return found


def _vop_problems(arch: Arch, code: Vop) -> list[str]:
    found = []
    if code.n < 1:
        found.append("a count of 0")
    if code.drain and code.row + code.n > arch.dump_row:
        found.append(f"rows {code.row}..{code.row + code.n - 1} exceed y, or are the dump row")
    places = {"v": (code.v_en, code.v), "a": (code.a_en, code.a), "e": (code.e_en, code.e)}
    for name, (enabled, at) in {**places, "d": (code.d_en, code.d)}.items():
        if enabled and at + code.n > arch.vector:
            found.append(f"{name} {at}..{at + code.n - 1} exceed the vector memory, {arch.vector}")
    for name, (enabled, at) in places.items():
        if enabled and code.d_en and at != code.d and abs(at - code.d) < code.n:
            found.append(f"d overlaps {name} in part")
    if code.combine in (Combine.ADD, Combine.SUB) and not code.e_en:
        found.append("it combines with e, which is not enabled")
    if code.x_en:
        found += _x_problems(arch, code.x, code.n * arch.groups, code.n)
    return found


def _stream_problems(arch: Arch, s: StreamWords) -> list[str]:
    """Of one stream's memories."""
    found = []
    words, strips = len(s.x), len(s.strips)
    if words > arch.words:
        found.append(f"{words} words; {arch.words} fit the memory")
    if strips > arch.strips:
        found.append(f"{strips} strips; {arch.strips} fit the memory")
    if int(s.last.sum()) != strips:
        found.append(f"{int(s.last.sum())} words end a strip, but there are {strips} strips")
    ends = np.flatnonzero(s.end) + 1
    if not np.array_equal(np.cumsum(s.segment_words), ends) or not words or not s.end[-1]:
        found.append("its words must end with the last segment, and segments where they say")
        return found
    starts = np.concatenate([[0], ends[:-1]])
    bare = ~s.last[ends - 1]
    if (bare & (ends - starts > 1)).any() or s.weights[ends[bare] - 1].any():
        found.append("a segment must end with a strip, or be one word of weight 0")
    if s.x.min() < 0 or s.x.max() >= arch.x:
        found.append(f"it reads x beyond the {arch.x} values there are")
    if strips and (s.strips.min() < 0 or s.strips.max() >= arch.y):
        found.append(f"it adds to rows beyond the {arch.y} of y")
    largest = (1 << (arch.weight_bits - 1)) - 1
    if np.abs(s.weights).max(initial=0) > largest:
        found.append(f"weights must lie in -{largest}..{largest}")
    if not found:
        found += _distance_problems(arch, s)
    return found


def _distance_problems(arch: Arch, s: StreamWords) -> list[str]:
    at = np.flatnonzero(s.last)
    if not len(at):
        return []
    # A second round shows what meets at the wrap.
    at = np.concatenate([at, at + len(s.x)])
    rows = np.concatenate([s.strips, s.strips])
    for ahead in range(1, TIMING.rmw):
        close = at[ahead:] - at[:-ahead] < TIMING.rmw
        same = (rows[ahead:] == rows[:-ahead]) & (rows[ahead:] != arch.dump_row)
        if (close & same.any(axis=1)).any():
            where = int(at[ahead:][close & same.any(axis=1)][0]) % len(s.x)
            return [
                f"word {where}: a lane updates a row of y twice within {TIMING.rmw} words, which"
                " loses the first update"
            ]
    return []


def _memory_problems(image: Image) -> list[str]:
    arch, found = image.arch, []
    limit = 1 << (arch.vector_bits - 1)
    if image.vector.shape != (arch.groups, arch.vector) or image.x.shape != (arch.x,):
        found.append("vector and x must be as large as the memories")
    elif np.abs(image.vector).max() > limit - 1:
        found.append(f"vector memories hold values beyond {arch.vector_bits} bits")
    elif np.abs(image.x).max() > (1 << (X_BITS - 1)) - 1:
        found.append(f"x holds values beyond {X_BITS} bits")
    return found


@dataclass
class _Posted:
    """A segment that was posted: its number in the step, half, and shift."""

    number: int
    half: int
    shift: int


@dataclass
class _Sums:
    """What a half of y holds: for each group and row, whether something was added, and how much."""

    bound: NDArray[np.float64]
    fresh: NDArray[np.bool_] = field(init=False)

    def __post_init__(self) -> None:
        self.fresh = np.zeros(self.bound.shape, np.bool_)


class _Follower:
    """Follows the program, and checks order and overflow."""

    def __init__(self, image: Image, segments: int) -> None:
        self._image, self._arch, self._count = image, image.arch, segments
        self._found: list[str] = []
        self._reads = [self._x_read(n) for n in range(segments)]
        self._adds = [self._row_bounds(n) for n in range(segments)]
        shape = (image.arch.groups, image.arch.y)
        self._y = [_Sums(np.zeros(shape)), _Sums(np.zeros(shape))]
        self._posted: list[_Posted] = []
        self._finished = 0

    def run(self) -> list[str]:
        pc, left, parity, executed, per_step = 0, _ROUNDS, 0, 0, 0
        inputs = 0
        while True:
            executed += 1
            if executed > (_ROUNDS + 1) * (len(self._image.program) + 1):
                self._refuse(pc, "the program doesn't come to END")
                break
            if not 0 <= pc < len(self._image.program):
                self._refuse(pc, "the program runs off its end")
                break
            code, here = self._image.program[pc], pc
            pc += 1
            match code:
                case Run():
                    self._run(here, code, parity)
                    per_step += 1
                case Wait(count=count):
                    self._finished = max(self._finished, len(self._posted) - count)
                case In(count=count, x=x):
                    inputs += 1
                    if count != self._image.input_length:
                        self._refuse(here, f"it takes {count} values of the input")
                    self._write_x(here, x, -(-count // self._arch.x_write) * self._arch.x_write)
                case Vop():
                    self._vop(here, code, parity)
                case Next(target=target):
                    left -= 1
                    pc = target if left else pc
                case Jump(target=target, toggle=toggle):
                    parity ^= toggle
                    pc = target
                case End():
                    break
        if not self._found:
            if per_step != _ROUNDS * self._count:
                self._refuse(
                    pc,
                    f"{_ROUNDS} steps post {per_step} segments; streams hold {self._count} a step",
                )
            if inputs != _ROUNDS:
                self._refuse(pc, f"{_ROUNDS} steps take {inputs} inputs")
            for half in (0, 1):
                if self._y[half].fresh.any():
                    self._refuse(pc, f"half {half} of y still holds sums at the end")
        return self._found

    def _refuse(self, pc: int, text: str) -> None:
        line = f"instruction {pc}: {text}"
        if line not in self._found:
            self._found.append(line)

    # What segments do.

    def _pieces(self, number: int) -> list[tuple[int, StreamWords, slice, slice]]:
        """(group, stream, its words, its strips) of a segment."""
        pieces = []
        for g, group in enumerate(self._image.streams):
            for s in group:
                stops = np.cumsum(s.segment_words)
                stop, start = int(stops[number]), int(stops[number] - s.segment_words[number])
                strips = slice(int(s.last[:start].sum()), int(s.last[:stop].sum()))
                pieces.append((g, s, slice(start, stop), strips))
        return pieces

    def _x_read(self, number: int) -> NDArray[np.bool_]:
        read = np.zeros(self._arch.x, np.bool_)
        for _, s, words, _ in self._pieces(number):
            used = s.weights[words].any(axis=1)
            read[s.x[words][used]] = True
        return read

    def _row_bounds(self, number: int) -> NDArray[np.float64]:
        """Sum of |weight| * 2^15 that a segment adds to each row. Shape: (groups, y)."""
        bounds = np.zeros((self._arch.groups, self._arch.y))
        for g, s, words, strips in self._pieces(number):
            last = np.flatnonzero(s.last[words])
            if not len(last):
                continue
            starts = np.concatenate([[0], last[:-1] + 1])
            sums = np.add.reduceat(np.abs(s.weights[words]), starts, axis=0)
            for q in range(self._arch.lanes):
                np.add.at(bounds[g], s.strips[strips, q], sums[:, q] * 2.0 ** (X_BITS - 1))
        return bounds

    # Instructions.

    def _run(self, pc: int, code: Run, parity: int) -> None:
        number = len(self._posted) % self._count
        half = code.half ^ parity
        self._posted.append(_Posted(number, half, code.shift))
        sums, adds = self._y[half], self._adds[number]
        sums.bound += adds * 2.0**code.shift
        sums.fresh |= adds > 0
        if (sums.bound >= 2.0 ** (self._arch.acc_bits - 1)).any():
            g, row = np.unravel_index(int(np.argmax(sums.bound)), sums.bound.shape)
            self._refuse(
                pc,
                f"row {row} of group {g} may reach {sums.bound[g, row]:.4g}, which is beyond"
                f" {self._arch.acc_bits} bits (acc_bits)",
            )
            sums.bound[:] = 0

    def _write_x(self, pc: int, x: int, length: int) -> None:
        for posted in self._posted[self._finished :]:
            if self._reads[posted.number][x : x + length].any():
                self._refuse(
                    pc,
                    f"it writes x {x}..{x + length - 1}, which segment {posted.number} may still"
                    " be reading; WAIT for it first",
                )

    def _vop(self, pc: int, code: Vop, parity: int) -> None:
        if code.drain:
            half = code.half ^ parity
            for posted in self._posted[self._finished :]:
                if posted.half == half:
                    self._refuse(
                        pc,
                        f"it drains half {half}, to which segment {posted.number} may still be"
                        " adding; WAIT for it first",
                    )
            rows = slice(code.row, code.row + code.n)
            self._y[half].fresh[:, rows] = False
            self._y[half].bound[:, rows] = 0
        if code.x_en:
            self._write_x(pc, code.x, code.n * self._arch.groups)
        before = self._image.program[pc - 1] if pc else None
        if isinstance(before, Vop) and before.d_en:
            for name, enabled, at in (
                ("v", code.v_en, code.v),
                ("a", code.a_en, code.a),
                ("e", code.e_en, code.e),
            ):
                ahead = at + code.n > before.d and at < before.d + before.n and at > before.d
                if enabled and ahead:
                    self._refuse(
                        pc,
                        f"{name} reads slots that the VOP before it writes later: {at} against"
                        f" {before.d}",
                    )
