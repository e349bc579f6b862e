"""Gives a planned step its numbers: where the binary points are, and that no sum overflows.

x gets the point that its largest value asks for, weights the one that uses their bits best.
Products that add into one sum are brought to one point by shifting x to the left; what no shift
can bring there loses digits, which is noted. Sums are proven to fit: sum |w| of each row, times
the largest x.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.accelerator.arch import VECTOR_FRAC, X_BITS, Arch
from csbrnn.accelerator.isa import ACTS, Vop
from csbrnn.accelerator.plan import Plan, PlanProduct
from csbrnn.accelerator.step import FixedStep, Product, Stage, StepInput, VectorOp
from csbrnn.compiler import Program, Slice
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.formats import Matrix
from csbrnn.numerics import fixed_frac, fixed_from_real, largest_value

__all__ = ["DEFAULT_INPUT_RANGE", "fix"]

DEFAULT_INPUT_RANGE: Final = 8.0
"""Largest magnitude of an input feature, unless the caller knows better: normalized features rarely
leave it. Beyond, they saturate."""

_MIN_INPUT_RANGE: Final = 2.0**-15
"""Below it the input's point moves no further. Ours: products of 16 bits by then have more digits
than sums can use."""

_SETTLING: Final = 3
"""Passes over the network after which bounds that still grow count as growing for ever. Ours: those
of the known cells settle in two."""

_MAX_X_SHIFT: Final = Vop.FIELDS["x_shift"].largest
_MAX_DRAIN_SHIFT: Final = Vop.FIELDS["drain_shift"].largest


@dataclass
class _Term:
    """A product on its way to integers: ``weights * 2^-frac``."""

    plan: PlanProduct
    weights: NDArray[np.int64]
    frac: int
    x_frac: int
    shift: int = 0
    lost: int = 0

    @property
    def product_frac(self) -> int:
        return self.frac + self.x_frac

    def drop(self, digits: int) -> None:
        """Gives up digits behind the point, by shifting less, or by rounding the weights."""
        spared = min(digits, self.shift)
        self.shift -= spared
        rest = digits - spared
        if rest:
            self.weights = np.rint(self.weights / 2.0**rest).astype(np.int64)
            self.frac -= rest
            self.lost += rest


def fix(
    program: Program,
    plan: Plan,
    arch: Arch,
    *,
    input_range: float = DEFAULT_INPUT_RANGE,
    ranges: Mapping[str, float] | None = None,
) -> FixedStep:
    """Return a step in integers.

    Args:
        program: The program that was planned.
        plan: Its stages.
        arch: For `weight_bits`, `acc_bits`, `vector_bits` and `max_shift`.
        input_range: Largest magnitude of the input's features; they saturate there.
        ranges: Name of a vector that the step computes -> its largest magnitude, where that is
            known better than the weights prove; it saturates beyond the next power of two. Features
            may be named, too, instead of ``input_range``.

    Raises:
        ArgumentError: A range is not positive, the input's is infinite, or it is of something else.
        UnsupportedModelError: Numbers don't fit; with all reasons.
    """
    return _Fixer(program, plan, arch, input_range, dict(ranges or {})).run()


class _Fixer:
    def __init__(
        self,
        program: Program,
        plan: Plan,
        arch: Arch,
        input_range: float,
        ranges: dict[str, float],
    ) -> None:
        self._program, self._plan, self._arch, self._ranges = program, plan, arch, ranges
        self._limit = 2.0 ** (arch.vector_bits - 1 - VECTOR_FRAC)
        self._reasons: list[str] = []
        self._notes: list[str] = []
        self._dense: dict[str, NDArray[np.float32]] = {}
        self._row_sums: dict[PlanProduct, NDArray[np.float64]] = {}
        written = {o.d.vector for s in plan.stages for o in s.operations}
        if not plan.table:  # whose largest value is there to see
            written.add(plan.input.vector)
        known = sorted(written & program.vectors.keys())
        bad = {n: r for n, r in ranges.items() if not r > 0 or n not in known}
        if bad:
            raise ArgumentError(
                f"ranges must be positive, of the input's features or of what a step computes"
                f" ({', '.join(known)}), which does not hold for {bad}"
            )
        input_range = ranges.get(plan.input.vector, input_range)
        if not 0 < input_range < math.inf:
            raise ArgumentError(
                f"the input's range must be a positive, finite number, not {input_range}"
            )
        self._table = program.tables[plan.table] if plan.table else None
        if self._table is not None:
            input_range = float(np.abs(self._table).max(initial=_MIN_INPUT_RANGE))
        self._input_range = input_range

    def run(self) -> FixedStep:
        bounds = self._bounds()
        read = {p.source for s in self._plan.stages for p in s.products}
        read |= {o.source for o in self._plan.outputs}
        # What the engine computes can only be shifted to the right on its way to x.
        x_fracs = {v: X_BITS - 1 - min(_whole(bounds[v], 0), _MAX_X_SHIFT) for v in read}
        x_fracs[self._plan.input] = self._input_frac(x_fracs)
        sum_fracs: dict[str, int] = {}
        products: dict[PlanProduct, Product] = {}
        widest = 0
        for name, terms in self._sums().items():
            made = [self._term(t, x_fracs) for t in terms]
            sum_fracs[name], bits = self._align(name, made)
            self._check(name, made, sum_fracs[name], bits)
            widest = max(widest, bits)
            products |= {t.plan: self._product(t) for t in made}
        stages = tuple(
            Stage(tuple(products[p] for p in s.products), tuple(s.operations))
            for s in self._plan.stages
        )
        constants = self._constants()
        if self._reasons:
            raise UnsupportedModelError(
                "the model's numbers don't fit the accelerator", self._reasons
            )
        return FixedStep(
            stages=stages,
            sum_fracs=sum_fracs,
            sum_sizes={n: self._program.vectors[n].length for n in sum_fracs},
            x_fracs=x_fracs,
            constants=constants,
            input=StepInput(self._plan.input, x_fracs[self._plan.input], self._table),
            outputs=tuple(self._plan.outputs),
            output_size=self._program.streams["output"].width,
            softmax=self._plan.softmax,
            states={
                name: tuple(Slice(v, 0, self._program.vectors[v].length) for v in vectors)
                for name, vectors in self._program.states.items()
            },
            acc_bits=widest,
            notes=tuple(self._notes),
        )

    # How large values become.

    def _bounds(self) -> dict[Slice, float]:
        """Vector -> a bound of its magnitude, for states that begin within -1 .. 1."""
        bounds: dict[Slice, float] = {self._plan.input: self._input_range}
        bounds |= {v: abs(n) for v, n in self._plan.numbers.items()}
        operations = [o for s in self._plan.stages for o in s.operations]
        made = {o.d for o in operations}
        for o in operations:
            for part in (*o.reads, *o.between):
                if self._is_constant(part):
                    bounds[part] = float(np.abs(self._values(part)).max(initial=0))
                elif part not in bounds:
                    bounds[part] = 1.0  # a state's first value; revised below if it is computed
        for s in self._plan.stages:
            for p in s.products:
                bounds.setdefault(p.source, 1.0)
        unbounded: set[Slice] = set()
        grown: list[Slice] = []
        passes = 0
        while passes <= _SETTLING or grown:
            before = dict(bounds)
            for stage in self._plan.stages:
                sums = self._sum_bounds(stage.products, bounds)
                for o in stage.operations:
                    if o.d not in unbounded:
                        bounds[o.d] = self._bound(o, bounds, sums)
            grown = [v for v in made if passes and bounds[v] > before.get(v, math.inf)]
            bounds |= dict.fromkeys(grown, self._limit)
            if passes >= _SETTLING:  # it has no bound, and what depends on it is computed once more
                unbounded.update(grown)
            passes += 1
        return bounds

    def _bound(
        self, o: VectorOp, bounds: Mapping[Slice, float], sums: Mapping[str, NDArray[np.float64]]
    ) -> float:
        if o.d.vector in self._ranges:
            return min(self._ranges[o.d.vector], self._limit)
        value = 0.0 if o.v is None else bounds[o.v]
        if o.sum is not None:
            part = sums[o.sum.vector][o.sum.start : o.sum.start + o.sum.length]
            value += float(part.max(initial=0))
        if ACTS[o.act] in ("sigmoid", "tanh"):
            value = min(value, 1.0) if ACTS[o.act] == "tanh" else 1.0
        if o.a is not None:
            value *= bounds[o.a]
        if o.e is not None:
            value += bounds[o.e]
        if o.between:
            value = min(value, max(bounds[part] for part in o.between))
        return min(value, self._limit)

    def _sum_bounds(
        self, products: list[PlanProduct], bounds: Mapping[Slice, float]
    ) -> dict[str, NDArray[np.float64]]:
        sums: dict[str, NDArray[np.float64]] = {}
        for p in products:
            if p not in self._row_sums:
                part = self._matrix(p.matrix)[p.rows[0] : p.rows[1], p.columns[0] : p.columns[1]]
                self._row_sums[p] = np.abs(part).sum(axis=1, dtype=np.float64)
            total = sums.setdefault(p.sum, np.zeros(p.rows[1] - p.rows[0]))
            total += self._row_sums[p] * bounds[p.source]
        return sums

    # Weights and sums.

    def _matrix(self, name: str) -> NDArray[np.float32]:
        if name not in self._dense:
            self._dense[name] = self._program.matrices[name].to_dense()
        return self._dense[name]

    def _sums(self) -> dict[str, list[PlanProduct]]:
        sums: dict[str, list[PlanProduct]] = {}
        for stage in self._plan.stages:
            for p in stage.products:
                sums.setdefault(p.sum, []).append(p)
        return sums

    def _term(self, p: PlanProduct, x_fracs: Mapping[Slice, int]) -> _Term:
        values, frac = self._integers(p.matrix)
        part = values[p.rows[0] : p.rows[1], p.columns[0] : p.columns[1]]
        return _Term(p, part, frac, x_fracs[p.source])

    def _integers(self, name: str) -> tuple[NDArray[np.int64], int]:
        matrix, bits = self._program.matrices[name], self._arch.weight_bits
        if _is_fixed(matrix) and matrix.precision.bits <= bits:
            values, scales = matrix.to_quantized()
            assert scales is not None
            frac = round(-math.log2(float(scales[0]))) if scales.size else 0
            return values.astype(np.int64), frac
        if matrix.dtype != "fp32":
            self._note(f"{name}: {matrix.dtype} rounded again, to {bits} bits of fixed point")
        dense = self._matrix(name)
        frac = fixed_frac(float(np.abs(dense).max(initial=0)), bits)
        return fixed_from_real(dense, frac, bits), frac

    def _input_frac(self, x_fracs: Mapping[Slice, int]) -> int:
        """Digits behind the point of the input; the host scales it, so any point will do.

        Where sums can't use all digits of its products, the weights would have to give them up
        alone. Of those beyond the point of other vectors' x, the input gives up half: both have
        about as many bits, so the error of neither dominates. A heuristic.
        """
        usual = X_BITS - 1
        most = usual - _whole(max(self._input_range, _MIN_INPUT_RANGE), -usual)
        if most <= usual:
            return most
        lost = 0
        for name, terms in self._sums().items():
            if all(t.source != self._plan.input for t in terms):
                continue
            made = [self._term(t, {**x_fracs, self._plan.input: most}) for t in terms]
            self._align(name, made)
            lost = max(lost, *(t.lost for t in made if t.plan.source == self._plan.input))
        return max(most - (lost + 1) // 2, usual)

    def _align(self, name: str, terms: list[_Term]) -> tuple[int, int]:
        """Gives all terms of a sum one point; returns it and the bits that hold the sum."""
        size = self._program.vectors[name].length
        low = min(t.product_frac for t in terms)
        frac = min(max(t.product_frac for t in terms), low + self._arch.max_shift)
        frac = min(frac, VECTOR_FRAC + _MAX_DRAIN_SHIFT)
        for t in terms:
            excess = t.product_frac - frac
            t.shift = max(-excess, 0)
            t.drop(max(excess, 0))
        while (bits := _bits_of(terms, size)) > self._arch.acc_bits and frac > VECTOR_FRAC:
            frac -= 1
            for t in terms:
                t.drop(1)
        return frac, bits

    def _check(self, name: str, terms: list[_Term], frac: int, bits: int) -> None:
        """Notes what an aligned sum lost, and why it doesn't fit."""
        if frac < VECTOR_FRAC or bits > self._arch.acc_bits:
            self._reasons.append(
                f"sum {name!r} needs {bits} bits with {frac} digits behind the point; it must have"
                f" at least {VECTOR_FRAC} digits in {self._arch.acc_bits} bits (acc_bits)"
            )
        for t in terms:
            if t.lost:
                self._note(
                    f"{t.plan.matrix}: {t.lost} digits of its weights dropped, to {t.frac} behind"
                    f" the point, so that sum {name!r} has one point and fits"
                )

    def _product(self, t: _Term) -> Product:
        p = t.plan
        assert int(np.abs(t.weights).max(initial=0)) <= largest_value(self._arch.weight_bits)
        return Product(
            sum=p.sum,
            source=p.source,
            first=p.first,
            weights=t.weights.astype(np.int32),
            shift=t.shift,
            matrix=self._program.matrices[p.matrix],
            rows=p.rows,
            columns=p.columns,
        )

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)

    # Constants.

    def _is_constant(self, part: Slice) -> bool:
        return part.vector in self._program.constants

    def _values(self, part: Slice) -> NDArray[np.float32]:
        return self._program.constants[part.vector][part.start : part.start + part.length]

    def _constants(self) -> dict[Slice, NDArray[np.int64]]:
        constants: dict[Slice, NDArray[np.int64]] = {}
        read = {part for s in self._plan.stages for o in s.operations for part in o.reads}
        for part in sorted(read, key=lambda p: (p.vector, p.start)):
            if part in self._plan.numbers:
                values = np.full(part.length, self._plan.numbers[part], np.float64)
            elif self._is_constant(part):
                values = self._values(part).astype(np.float64)
            else:
                continue
            largest = float(np.abs(values).max(initial=0))
            if not largest < self._limit:
                self._reasons.append(
                    f"{part.vector!r} holds {largest:g}; what vector memories hold must be below"
                    f" {self._limit:g} (vector_bits = {self._arch.vector_bits})"
                )
                continue
            scaled = np.rint(values * 2.0**VECTOR_FRAC)
            top = largest_value(self._arch.vector_bits)
            constants[part] = np.clip(scaled, -top, top).astype(np.int64)
        return constants


def _is_fixed(matrix: Matrix) -> bool:
    return matrix.dtype.startswith("fixed")


def _whole(bound: float, least: int) -> int:
    """Binary digits before the point of values up to ``bound``; below 0, zeros behind it."""
    return max(math.ceil(math.log2(bound)), least) if bound > 0 else 0


def _bits_of(terms: list[_Term], size: int) -> int:
    """Least bits that hold every row's sum for any x."""
    total = np.zeros(size, np.float64)
    for t in terms:
        total += np.abs(t.weights).sum(axis=1, dtype=np.float64) * 2.0 ** (t.shift + X_BITS - 1)
    return int(total.max(initial=0)).bit_length() + 1
