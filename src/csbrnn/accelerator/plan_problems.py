"""`plan_problems`: what a plan reads that nothing has written, so that it would compute zeros."""

from __future__ import annotations

from typing import TYPE_CHECKING

from csbrnn.compiler import Program, Slice

if TYPE_CHECKING:
    from csbrnn.accelerator.plan import Plan

__all__ = ["plan_problems"]


def plan_problems(plan: Plan, program: Program) -> list[str]:
    """Return a reason for each vector that is read otherwise than it is written, or before.

    Vectors are written whole and read whole; a state may be read before it is written, for its
    value of the step before. The planner should leave nothing to be found; what it has not arranged
    for all that is refused, instead of computed from zeros.

    Args:
        plan: All stages and outputs.
        program: What it was made of.
    """
    kinds = {name: vector.kind for name, vector in program.vectors.items()}
    last = {o.d for stage in plan.stages for o in stage.operations}
    written: set[Slice] = set()
    summed: set[str] = set()
    found: dict[str, None] = {}

    def read(part: Slice) -> None:
        kind = kinds.get(part.vector)
        known = part in written or part in plan.numbers or part == plan.input or kind == "constant"
        if known or (kind == "state" and part in last):
            return
        if kind == "state" and not any(o.vector == part.vector for o in last):
            found[f"state {part.vector!r} never changes: leave it out"] = None
        else:
            found[f"{part.vector!r} is read in a way in which the engine does not write it"] = None

    for stage in plan.stages:
        for product in stage.products:
            read(product.source)
            summed.add(product.sum)
        for operation in stage.operations:
            for part in (*operation.reads, *operation.between):
                read(part)
            if operation.sum is not None and operation.sum.vector not in summed:
                found[f"sum {operation.sum.vector!r} is drained before anything is added"] = None
            written.add(operation.d)
    for output in plan.outputs:
        read(output.source)
    return list(found)
