"""The operations of a traced forward that move axes: harmless, as long as each step stays whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import fx

from csbrnn.nn.values import (
    OPAQUE,
    UNKNOWN,
    ZEROS,
    Constant,
    Extent,
    FinalState,
    GivenStates,
    Stream,
    is_zeros,
)

if TYPE_CHECKING:
    from csbrnn.nn.lowering import Lowering

__all__ = ["LAYOUT", "Handler", "axis_of", "get_attribute", "get_item"]

Handler: TypeAlias = "Callable[[Lowering, fx.Node, tuple[Any, ...], Mapping[str, Any]], Any]"
"""See `csbrnn.nn.operators`."""

_TAKES = {
    "T": "takes only some of the steps: a packed model gives an output at every step, of which "
    "its caller may take the last",
    "B": "selects from the batch",
    "F": "takes only some of the features: split the layer before instead",
}


def axis_of(low: Lowering, node: fx.Node, x: Stream, dim: Any, *, new: bool = False) -> int | None:
    """The axis which ``dim`` counts, from 0; a reason and None where there is none."""
    rank = len(x.axes) + new
    if isinstance(dim, int) and -rank <= dim < rank:
        return dim % rank
    low.refuse(node, f"has no axis {dim} in {x.layout}", misread=2 if isinstance(dim, int) else 0)
    return None


def get_item(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """``value[index]``: an element of a result, a state, or a harmless index of a stream."""
    value, index = args
    if isinstance(value, tuple | list | dict):
        try:
            return value[index]
        except (IndexError, KeyError, TypeError):
            return low.refuse(node, f"has no element {index!r:.40}", misread=2)
    if isinstance(value, GivenStates) and isinstance(index, int | str):
        if isinstance(index, int) and index < 0:
            return low.refuse(
                node,
                "counts states from the end, of which it isn't known how many there are: count"
                " from 0",
            )
        return GivenStates((*value.path, index))
    if is_zeros(value):
        return ZEROS
    if value is OPAQUE:
        return value
    if isinstance(value, FinalState):
        return low.refuse(
            node,
            "takes a part of a state after the sequence: use the layer's output at every step, of"
            " which the caller may take the last",
        )
    if not isinstance(value, Stream):
        return low.refuse(node, "takes a part of states or parameters; pass them on whole")
    return _index(low, node, value, index if isinstance(index, tuple) else (index,))


def get_attribute(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    """``value.name``: a shape, or something that must not enter the computation."""
    value, name = args[:2]
    if name == "shape":
        return _size(low, node, (value,), {})
    if name in ("device", "dtype", "ndim", "is_cuda", "requires_grad"):
        return OPAQUE
    return low.refuse(node, f"reads the attribute {name!r}, which can't be followed")


def _index(low: Lowering, node: fx.Node, x: Stream, index: tuple[Any, ...]) -> Any:
    if Ellipsis in index:
        at = index.index(Ellipsis)
        missing = len(x.axes) - sum(i is not None for i in index) + 1
        index = (*index[:at], *[slice(None)] * missing, *index[at + 1 :])
    remaining, axes = list(x.axes), list[str]()
    for step in index:
        if step is None:
            axes.append("1")
        elif not remaining:
            return low.refuse(node, f"has too many indices for {x.layout}", misread=2)
        elif isinstance(step, slice) and step == slice(None):
            axes.append(remaining.pop(0))
        elif (axis := remaining.pop(0)) != "1" or step not in (0, -1):
            return low.refuse(node, _TAKES.get(axis, f"can't take a part of {x.layout}"))
    return x.moved((*axes, *remaining))


def _transpose(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, *dims = args
    dims = [*dims, *(kwargs[k] for k in ("dim0", "dim1", "axis0", "axis1") if k in kwargs)]
    if not isinstance(x, Stream):
        return _pass_on(low, node, x)
    a, b = (axis_of(low, node, x, dim) for dim in dims)
    if a is None or b is None:
        return UNKNOWN
    axes = list(x.axes)
    axes[a], axes[b] = axes[b], axes[a]
    return x.moved(tuple(axes))


def _permute(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, *dims = args
    dims = dims or [kwargs.get("dims")]
    order = dims[0] if isinstance(dims[0], tuple | list) else dims
    if not isinstance(x, Stream):
        return _pass_on(low, node, x)
    found = [axis_of(low, node, x, dim) for dim in order]
    if None in found:
        return UNKNOWN
    if sorted(axis for axis in found if axis is not None) != list(range(len(x.axes))):
        return low.refuse(node, f"{order} does not order {x.layout}", misread=2)
    return x.moved(tuple(x.axes[axis] for axis in found if axis is not None))


def _squeeze(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    if not isinstance(x, Stream):
        return _pass_on(low, node, x)
    if dim is None:
        return low.refuse(node, "drops every axis of length one, whichever they are; name the axis")
    axis = axis_of(low, node, x, dim)
    if axis is None:
        return UNKNOWN
    # A batch of one may go, and so may the features' axis when there is a single feature.
    if x.axes[axis] in ("1", "B") or (x.axes[axis] == "F" and x.size == 1):
        return x.moved((*x.axes[:axis], *x.axes[axis + 1 :]))
    return low.refuse(node, f"would drop axis {axis} of {x.layout}")


def _unsqueeze(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    if not isinstance(x, Stream):
        return _pass_on(low, node, x)
    axis = axis_of(low, node, x, dim, new=True)
    return UNKNOWN if axis is None else x.moved((*x.axes[:axis], "1", *x.axes[axis:]))


def _size(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    if not isinstance(x, Stream):
        return OPAQUE
    extents = tuple(Extent(axis) for axis in x.axes)
    if dim is None:
        return extents
    axis = axis_of(low, node, x, dim)
    return UNKNOWN if axis is None else extents[axis]


def _flatten(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x = args[0]
    if not isinstance(x, Stream):
        return _pass_on(low, node, x)
    ends = [
        args[k] if len(args) > k else kwargs.get(name, default)
        for k, name, default in ((1, "start_dim", 0), (2, "end_dim", -1))
    ]
    start, end = (axis_of(low, node, x, dim) for dim in ends)
    if start is None or end is None:
        return UNKNOWN
    merged = "".join(x.axes[start : end + 1]).replace("1", "") or "1"
    return _moved_whole(low, node, x, (*x.axes[:start], merged, *x.axes[end + 1 :]))


def _reshape(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    x, *shape = args
    shape = shape or [kwargs.get("shape", kwargs.get("size"))]
    wanted = shape[0] if isinstance(shape[0], tuple | list) else shape
    if not isinstance(x, Stream):
        return _pass_on(low, node, x)
    names = [_axis_named(x, dim, last=k == len(wanted) - 1) for k, dim in enumerate(wanted)]
    axes = _cut("".join(x.axes).replace("1", ""), names)
    if axes is None:
        dims = ", ".join(d.axis if isinstance(d, Extent) else str(d) for d in wanted)
        return low.refuse(node, f"can't be followed from {x.layout} to ({dims})")
    return _moved_whole(low, node, x, axes)


def _axis_named(x: Stream, dim: Any, *, last: bool) -> str:
    """What an entry of a shape stands for: axis letters, "1", "*" for -1, or "?"."""
    if isinstance(dim, Extent):
        return dim.axis
    if last and dim == x.size and dim is not None:
        return "F"
    return {-1: "*", 1: "1"}.get(dim, "?") if isinstance(dim, int) else "?"


def _cut(letters: str, names: list[str]) -> tuple[str, ...] | None:
    """Cuts axis letters, which reshaping keeps in order, as the names say; None if they don't fit.

    Reshaping to (T * B, F) merges two axes: their name is "TB" in whichever order they lie.
    """
    taken = sum(len(name) for name in names if name not in ("1", "*"))
    rest = len(letters) - taken
    if "?" in names or rest < 0 or (rest and "*" not in names):
        return None
    axes, position = [], 0
    for name in names:
        length = rest if name == "*" else 0 if name == "1" else len(name)
        piece = letters[position : position + length]
        if name not in ("1", "*") and sorted(piece) != sorted(name):
            return None
        axes.append(piece or "1")
        position += length
    return tuple(axes)


def _moved_whole(low: Lowering, node: fx.Node, x: Stream, axes: tuple[str, ...]) -> Any:
    """The stream with other axes, unless the features were merged with something."""
    if any("F" in axis and axis != "F" for axis in axes):
        return low.refuse(node, f"merges the features of {x.layout} with another axis")
    return x.moved(axes)


def _pass_on(low: Lowering, node: fx.Node, value: Any) -> Any:
    """Zeros and constants keep what they are; states must stay as they are."""
    if is_zeros(value):
        return ZEROS
    if value is OPAQUE or isinstance(value, Constant):
        return value
    return low.refuse(node, "changes the shape of states; pass them on as they are")


def _expand(low: Lowering, node: fx.Node, args: Any, kwargs: Any) -> Any:
    if isinstance(args[0], Stream):
        return low.refuse(node, f"repeats {args[0].layout}")
    return _pass_on(low, node, args[0])


#: Methods (and functions of torch) that move axes -> handler.
LAYOUT: dict[str, Handler] = {
    **dict.fromkeys(("transpose", "swapaxes", "swapdims"), _transpose),
    "permute": _permute,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "size": _size,
    "flatten": _flatten,
    **dict.fromkeys(("reshape", "view"), _reshape),
    **dict.fromkeys(("expand", "repeat"), _expand),
}
