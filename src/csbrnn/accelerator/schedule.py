"""The macro-program of a step: which segment is posted when, so that streams don't run dry.

While the vector engine drains and updates one stage, streams work on the next stage's products that
are ready (`cover`); those that need what the engine just computes follow (`rest`). Stages take the
halves of y in turn. The last stage of a step is covered by the first of the step after it, so a
program is a loop with a prologue and an epilogue:

        IN; RUN cover(0), rest(0)
    L:  for each stage s but the last: RUN cover(s + 1); WAIT; VOPs(s); RUN rest(s + 1)
        NEXT M
        WAIT 0; VOPs(last); END
    M:  IN; RUN cover(0); WAIT; VOPs(last); RUN rest(0); JUMP L
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from csbrnn.accelerator.arch import VECTOR_FRAC
from csbrnn.accelerator.isa import End, In, Instruction, Jump, Next, Run, Vop, Wait
from csbrnn.accelerator.layout import Layout
from csbrnn.accelerator.step import FixedStep, Product, VectorOp
from csbrnn.compiler import Slice

__all__ = ["Segment", "segments_of", "write_program"]


@dataclass(frozen=True)
class Segment:
    """Products that are posted together.

    Attributes:
        stage: Whose sums they add to.
        ready: Whether they can run while the stage before is drained.
        shift: Of x.
        products: In order.
    """

    stage: int
    ready: bool
    shift: int
    products: tuple[Product, ...]


def segments_of(step: FixedStep) -> tuple[Segment, ...]:
    """The segments of a step, in the order in which streams run them."""
    found: list[Segment] = []
    count = len(step.stages)
    for number, stage in enumerate(step.stages):
        before = {o.d for o in step.stages[(number - 1) % count].operations}
        for ready in (True, False):
            wanted = [p for p in stage.products if (p.source not in before) == ready]
            for shift in sorted({p.shift for p in wanted}):
                alike = tuple(p for p in wanted if p.shift == shift)
                found.append(Segment(number, ready, shift, alike))
    return tuple(found)


def write_program(
    step: FixedStep, layout: Layout, segments: Sequence[Segment]
) -> tuple[Instruction, ...]:
    """Return the macro-program; see the module."""
    return _Writer(step, layout, segments).run()


class _Writer:
    def __init__(self, step: FixedStep, layout: Layout, segments: Sequence[Segment]) -> None:
        self._step, self._layout = step, layout
        self._segments = segments
        self._last = len(step.stages) - 1
        self._code: list[Instruction] = []
        # Segments posted so far, and how many of them the program knows to be finished.
        self._posted: list[Segment] = []
        self._finished = 0

    def run(self) -> tuple[Instruction, ...]:
        self._input()
        self._post(0, 0, ready=True)
        self._post(0, 0, ready=False)
        body = len(self._code)
        for stage in range(self._last):
            self._post(stage + 1, (stage + 1) % 2, ready=True)
            self._vops(stage, stage % 2)
            self._post(stage + 1, (stage + 1) % 2, ready=False)
        branch = len(self._code)
        self._code.append(Next(0))
        posted, finished = list(self._posted), self._finished
        self._vops(self._last, self._last % 2)
        self._code.append(End())
        self._posted, self._finished = posted, finished
        self._code[branch] = Next(len(self._code))
        half = (self._last + 1) % 2
        self._input()
        self._post(0, half, ready=True)
        self._vops(self._last, self._last % 2)
        self._post(0, half, ready=False)
        self._code.append(Jump(body, toggle=half))
        return tuple(self._code)

    def _input(self) -> None:
        source = self._step.input.source
        readers = [
            n for n, s in enumerate(self._posted) if any(p.source == source for p in s.products)
        ]
        if readers:
            self._wait(readers[-1] + 1)
        self._code.append(In(source.length, self._layout.x[source]))

    def _post(self, stage: int, half: int, *, ready: bool) -> None:
        for segment in self._segments:
            if segment.stage == stage and segment.ready == ready:
                self._code.append(Run(half, segment.shift))
                self._posted.append(segment)

    def _wait(self, finished: int) -> None:
        """Waits until the first ``finished`` posted segments are finished."""
        if finished > self._finished:
            self._code.append(Wait(len(self._posted) - finished))
            self._finished = finished

    def _vops(self, stage: int, half: int) -> None:
        mine = [n for n, s in enumerate(self._posted) if s.stage == stage and n >= self._finished]
        if mine:
            self._wait(mine[-1] + 1)
        for operation in self._step.stages[stage].operations:
            self._code.append(self._vop(operation, half))

    def _vop(self, o: VectorOp, half: int) -> Vop:
        layout = self._layout
        outputs = {part.source for part in self._step.outputs}
        vop = Vop(n=layout.vector_spaces[o.d].slots, act=o.act, combine=o.combine)
        if o.sum is not None:
            shift = self._step.sum_fracs[o.sum.vector] - VECTOR_FRAC
            vop = replace(vop, drain=1, half=half, row=layout.rows[o.sum], drain_shift=shift)
        for field, part in (("v", o.v), ("a", o.a), ("e", o.e)):
            if part is not None:
                vop = replace(vop, **{f"{field}_en": 1, field: layout.vectors[part]})
        if o.d in layout.vectors:
            vop = replace(vop, d_en=1, d=layout.vectors[o.d])
        if o.d in self._step.x_fracs:
            vop = replace(vop, x_shift=VECTOR_FRAC - self._step.x_fracs[o.d])
        if o.d in layout.x:
            vop = replace(vop, x_en=1, x=layout.x[o.d])
        if o.d in outputs and self._is_last_write(o):
            vop = replace(vop, out=1)
        return vop

    def _is_last_write(self, o: VectorOp) -> bool:
        return [p for p in self._step.operations if p.d == o.d][-1] is o


def output_order(step: FixedStep) -> list[Slice]:
    """The vectors that a step gives to the output stream, in order."""
    wanted = {part.source for part in step.outputs}
    order: list[Slice] = []
    for o in step.operations:
        if o.d in wanted:
            if o.d in order:
                order.remove(o.d)
            order.append(o.d)
    return order
