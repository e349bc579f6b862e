"""Element-wise programs: the order of their operations and the slots that values live in."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import Elementwise, MicroOp
from csbrnn.errors import UnsupportedModelError
from csbrnn.runtime.layout import OPERATION, OPERATIONS, SLOTS

__all__ = ["lower_elementwise"]


def lower_elementwise(code: Elementwise, addresses: Mapping[str, int]) -> NDArray[np.void]:
    """Return an element-wise program's records.

    Stores are put behind the last load: all loads see the values from before. A value's slot is
    used again once its last reader has run.

    Args:
        code: The program.
        addresses: Vector -> address.

    Raises:
        UnsupportedModelError: More values live at once than there are slots.
    """
    order = _order(code.operations)
    last_use = {arg: place for place, k in enumerate(order) for arg in code.operations[k].args}
    records = np.zeros(len(order), OPERATION)
    free = list(range(SLOTS))[::-1]
    slots: dict[int, int] = {}
    for place, k in enumerate(order):
        operation = code.operations[k]
        args = [slots[a] for a in operation.args]
        # The result may take the slot of an operand that nobody else needs: kernels read a whole
        # vector of each operand before they write.
        for arg in dict.fromkeys(operation.args):
            if last_use[arg] == place:
                free.append(slots.pop(arg))
        to = 0
        if operation.op != "store":
            if not free:
                reason = f"an element-wise part needs more than {SLOTS} values at once"
                raise UnsupportedModelError("can't compile for the CPU", [reason])
            to = free.pop()
            if k in last_use:
                slots[k] = to
            else:
                free.append(to)
        operand = 0
        if operation.slice is not None:
            operand = addresses[operation.slice.vector] + operation.slice.start
        elif operation.op == "constant":
            operand = int(np.float32(operation.value).view(np.uint32))
        records[place] = (OPERATIONS[operation.op], to, *[*args, 0, 0][:2], operand)
    return records


def _order(operations: tuple[MicroOp, ...]) -> list[int]:
    last_load = max((k for k, o in enumerate(operations) if o.op == "load"), default=-1)
    early = [k for k, o in enumerate(operations) if k <= last_load and o.op != "store"]
    late = [k for k, o in enumerate(operations) if k <= last_load and o.op == "store"]
    return early + late + list(range(last_load + 1, len(operations)))
