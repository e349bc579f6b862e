"""`FixedStep`: one time step in integers, on whole vectors, before it is laid out on groups.

A step is a list of *stages*. A stage first adds matrix-vector products into sums, then runs vector
operations that read the sums and write vectors. A vector lives in two forms: in vector memories
with `VECTOR_FRAC` digits behind the point, and, where products read it, as 16-bit x with a point of
its own. `csbrnn.accelerator.interpreter` runs a step as it stands; the compiler lays it out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.isa import Combine
from csbrnn.accelerator.kernels import Kernel, kernels_of
from csbrnn.compiler import Slice
from csbrnn.formats import Matrix

__all__ = ["FixedStep", "Product", "Stage", "StepInput", "StepOutput", "VectorOp"]


@dataclass(frozen=True, eq=False)
class Product:
    """``sum += weights @ (source[first ..] << shift)``, in integers.

    Attributes:
        sum: Name of the sum.
        source: The vector that it reads, as it is written elsewhere.
        first: First element of the source that it reads.
        weights: Integers, zero where pruned. Shape: (rows, columns), int32.
        shift: Of the source's x, to the left.
        matrix: The stored matrix, for what it keeps.
        rows: Of ``matrix``, that ``weights`` are: (start, stop).
        columns: The same.
    """

    sum: str
    source: Slice
    first: int
    weights: NDArray[np.int32]
    shift: int
    matrix: Matrix
    rows: tuple[int, int]
    columns: tuple[int, int]

    def kernels(self) -> Iterator[Kernel]:
        """Yield what ``matrix`` keeps of ``weights``, zeros among it included."""
        return kernels_of(self.matrix, self.rows, self.columns)


@dataclass(frozen=True)
class VectorOp:
    """``d = combine(A * act(sum + v), e)`` for each element; see VOP in docs/spec/accelerator.md.

    Attributes:
        d: Where the result goes.
        sum: Slice of a sum to drain, or None.
        v: Addend before the activation, or None.
        a: Factor, or None.
        e: Addend, or None.
        act: Position in `ACTS`.
        combine: What becomes of the product and e.
        between: Vectors between which the result lies, value by value and but for rounding, if any
            are known.
    """

    d: Slice
    sum: Slice | None = None
    v: Slice | None = None
    a: Slice | None = None
    e: Slice | None = None
    act: int = 0
    combine: Combine = Combine.PRODUCT
    between: tuple[Slice, ...] = ()

    @property
    def reads(self) -> tuple[Slice, ...]:
        """The vectors that it reads; a sum is none."""
        return tuple(s for s in (self.v, self.a, self.e) if s is not None)


@dataclass(frozen=True)
class Stage:
    """Products, then vector operations, both in order."""

    products: tuple[Product, ...]
    operations: tuple[VectorOp, ...]


@dataclass(frozen=True, eq=False)
class StepInput:
    """What the host feeds a step.

    Attributes:
        source: The vector it fills.
        frac: Binary digits behind the point of its 16-bit values.
        table: For tokens, the vectors that stand for them, looked up by the host.
            Shape: (vocabulary, length).
    """

    source: Slice
    frac: int
    table: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class StepOutput:
    """A part of the output.

    Attributes:
        source: The vector.
        first: First element of it.
        length: Elements.
        offset: First element in the model's output.
    """

    source: Slice
    first: int
    length: int
    offset: int


@dataclass(frozen=True, eq=False)
class FixedStep:
    """One time step in integers.

    Attributes:
        stages: In order.
        sum_fracs: Name of a sum -> binary digits behind its point.
        sum_sizes: Name of a sum -> rows.
        x_fracs: Vector that products or the output read -> digits behind the point of its x.
        constants: Vector -> values, frac `VECTOR_FRAC`.
        input: What the host feeds.
        outputs: What the host gets.
        output_size: Elements of the model's output.
        softmax: What the host does to the output.
        states: Public name -> the state vectors that make it up.
        acc_bits: Least bits that hold every sum; proven from the weights.
        notes: What was changed on the way, one line each.
    """

    stages: tuple[Stage, ...]
    sum_fracs: Mapping[str, int]
    sum_sizes: Mapping[str, int]
    x_fracs: Mapping[Slice, int]
    constants: Mapping[Slice, NDArray[np.int64]]
    input: StepInput
    outputs: tuple[StepOutput, ...]
    output_size: int
    softmax: Literal["", "softmax", "log_softmax"]
    states: Mapping[str, tuple[Slice, ...]]
    acc_bits: int
    notes: tuple[str, ...] = ()

    @property
    def kept(self) -> int:
        """Weights that a step multiplies with: those that the formats store."""
        return sum(
            len(k.rows) * len(k.cols) for s in self.stages for p in s.products for k in p.kernels()
        )

    @property
    def operations(self) -> tuple[VectorOp, ...]:
        """The vector operations of all stages, in order."""
        return tuple(o for s in self.stages for o in s.operations)

    def summary(self) -> dict[str, Any]:
        """Sizes, as JSON-able values."""
        return {
            "stages": len(self.stages),
            "products": sum(len(s.products) for s in self.stages),
            "vector_operations": len(self.operations),
            "kept_weights": self.kept,
            "acc_bits": self.acc_bits,
            "notes": list(self.notes),
        }
