"""`compile_model`: a packed model, or its program, to an `Image` for one arch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import X_BITS, Arch
from csbrnn.accelerator.binary_points import DEFAULT_INPUT_RANGE, fix
from csbrnn.accelerator.image import Image, OutputPart
from csbrnn.accelerator.kernels import Kernel
from csbrnn.accelerator.layout import Layout, lay_out
from csbrnn.accelerator.mapping import find_spaces, map_units
from csbrnn.accelerator.plan import plan
from csbrnn.accelerator.schedule import Segment, output_order, segments_of, write_program
from csbrnn.accelerator.step import FixedStep, Product
from csbrnn.accelerator.strips import (
    StreamWords,
    Strip,
    cut_long,
    cut_strips,
    deal_strips,
    fold,
)
from csbrnn.accelerator.verify import verify_image
from csbrnn.compiler import Program, Slice, lower
from csbrnn.errors import UnsupportedModelError
from csbrnn.model import PackedModel

__all__ = ["Compiled", "compile_model", "compile_step", "fixed_step"]


@dataclass(frozen=True, eq=False)
class Compiled:
    """A model on an arch.

    Attributes:
        arch: The arch.
        step: The step in integers, for `run_fixed` and for scales.
        image: What is loaded.
    """

    arch: Arch
    step: FixedStep
    image: Image

    @property
    def loads(self) -> NDArray[np.int64]:
        """Words a step of each group's streams, added up. Shape: (groups,)."""
        totals: NDArray[np.int64] = self.image.segment_words.sum(axis=(0, 2))
        return totals


def fixed_step(
    model: PackedModel | Program,
    arch: Arch,
    *,
    input_range: float = DEFAULT_INPUT_RANGE,
    ranges: Mapping[str, float] | None = None,
) -> FixedStep:
    """Return a model's step in integers, which `run_fixed` runs.

    Args:
        model: A packed model, or its program lowered with ``fuse=False``.
        arch: For the widths; its memories don't matter here.
        input_range: Largest magnitude of the input's features; they saturate there.
        ranges: Name of a vector that the step computes -> its largest magnitude, where that is
            known better than the weights prove. Features may be named, too, instead of
            ``input_range``.

    Raises:
        ArgumentError: A range is not positive, the input's is infinite, or it is of something else.
        UnsupportedModelError: The accelerator can't run it; with all reasons.
    """
    program = lower(model, fuse=False) if isinstance(model, PackedModel) else model
    return fix(program, plan(program), arch, input_range=input_range, ranges=ranges)


def compile_model(
    model: PackedModel | Program,
    arch: Arch,
    *,
    input_range: float = DEFAULT_INPUT_RANGE,
    ranges: Mapping[str, float] | None = None,
    balance: bool = True,
) -> Compiled:
    """Compile a model for an arch; the result is verified.

    Args:
        model: As for `fixed_step`.
        arch: The arch.
        input_range: As for `fixed_step`.
        ranges: As for `fixed_step`.
        balance: False gives each group neighbouring units, whatever they weigh.

    Raises:
        ArgumentError: As for `fixed_step`.
        UnsupportedModelError: The accelerator can't run it, or memories are too small, and by how
            much; with all reasons.
    """
    step = fixed_step(model, arch, input_range=input_range, ranges=ranges)
    return compile_step(step, arch, balance=balance)


def compile_step(step: FixedStep, arch: Arch, *, balance: bool = True) -> Compiled:
    """Lay a step out on an arch; see `compile_model`."""
    kernels = {p: list(p.kernels()) for s in step.stages for p in s.products}
    spaces = find_spaces(step)
    map_units(arch, step, spaces, kernels, balance=balance)
    layout = lay_out(arch, step, spaces)
    segments = segments_of(step)
    streams = _streams(arch, step, layout, segments, kernels)
    program = write_program(step, layout, segments)
    _check_memories(arch, layout, streams, len(program))
    vector = np.zeros((arch.groups, arch.vector), np.int64)
    for part, values in step.constants.items():
        space = layout.vector_spaces[part]
        vector[space.group, layout.vectors[part] + space.slot] = values
    image = Image(
        arch=arch,
        program=program,
        streams=streams,
        vector=vector,
        x=np.zeros(arch.x, np.int64),
        input_length=step.input.source.length,
        outputs=_outputs(arch, step, layout),
        output_size=step.output_size,
        kept=sum(len(k.rows) * len(k.cols) for found in kernels.values() for k in found),
        segment_names=tuple(_segment_name(s) for s in segments),
        regions={
            f"{p.vector}[{p.start}:{p.start + p.length}]": (at, layout.x_length[p])
            for p, at in layout.x.items()
        },
        used={"x": layout.x_used, "y": layout.y_used + 1, "vector": layout.vector_used},
    )
    verify_image(image)
    return Compiled(arch, step, image)


def _streams(
    arch: Arch,
    step: FixedStep,
    layout: Layout,
    segments: tuple[Segment, ...],
    kernels: Mapping[Product, list[Kernel]],
) -> tuple[tuple[StreamWords, ...], ...]:
    groups: list[list[list[Strip]]] = [[] for _ in range(arch.groups)]
    for segment in segments:
        whole: list[list[Strip]] = [[] for _ in range(arch.groups)]
        spare: list[dict[tuple[Slice, int], list[Strip]]] = [{} for _ in range(arch.groups)]
        for p in segment.products:
            owner, rows = layout.row_addresses(p.sum, step.sum_sizes[p.sum])
            x = layout.x_addresses(p.source, arch.groups)
            full, partial = cut_strips(arch, p, kernels[p], owner, rows, x)
            for group in range(arch.groups):
                whole[group] += full[group]
                for window, strips in partial[group].items():
                    spare[group].setdefault((p.source, window), []).extend(strips)
        for group in range(arch.groups):
            folded = [s for strips in spare[group].values() for s in fold(arch, strips)]
            groups[group].append(cut_long(whole[group] + folded))
    return tuple(tuple(deal_strips(arch, strips)) for strips in groups)


def _outputs(arch: Arch, step: FixedStep, layout: Layout) -> tuple[OutputPart, ...]:
    parts = []
    for vector in output_order(step):
        space = layout.vector_spaces[vector]
        position = space.slot * arch.groups + space.group
        mine = [o for o in step.outputs if o.source == vector]
        take = [position[o.first : o.first + o.length] for o in mine]
        put = [np.arange(o.offset, o.offset + o.length) for o in mine]
        parts.append(
            OutputPart(
                space.slots * arch.groups,
                step.x_fracs[vector],
                np.concatenate(take),
                np.concatenate(put),
            )
        )
    return tuple(parts)


def _segment_name(segment: Segment) -> str:
    sums = dict.fromkeys(p.sum for p in segment.products)
    sources = dict.fromkeys(p.source.vector for p in segment.products)
    return f"{', '.join(sums)} += .. @ {', '.join(sources)}"


def _check_memories(
    arch: Arch,
    layout: Layout,
    streams: tuple[tuple[StreamWords, ...], ...],
    instructions: int,
) -> None:
    flat = [s for group in streams for s in group]
    needs = {
        "words": (max(len(s.x) for s in flat), arch.words, "words of the fullest stream"),
        "strips": (max(len(s.strips) for s in flat), arch.strips, "strips of the fullest stream"),
        "x": (layout.x_used, arch.x, "values of x"),
        "y": (layout.y_used + 1, arch.y, "rows of y, the dump row included"),
        "vector": (layout.vector_used, arch.vector, "places of vector memory"),
        "program": (instructions, arch.program, "instructions"),
    }
    reasons = [
        f"memory.{name}: {need} {what} are needed, {have} there: {need - have} too few"
        for name, (need, have, what) in needs.items()
        if need > have
    ]
    if reasons:
        raise UnsupportedModelError(
            f"the model doesn't fit {arch.name!r} (x has {X_BITS} bits a value)", reasons
        )
