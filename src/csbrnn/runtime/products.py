"""`Products`: the sections and spans of an image: what products multiply, part by part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from csbrnn.compiler import GRUGates, LSTMGates, MatVec, Program
from csbrnn.numerics import BF16, FP32
from csbrnn.runtime import layout
from csbrnn.runtime.bundles import PAIR
from csbrnn.runtime.operands import Operands
from csbrnn.runtime.strips import Section
from csbrnn.runtime.tiling_int8 import Int8Section
from csbrnn.runtime.tilings import Tilings
from csbrnn.runtime.unsummed import Unsummed, gate_lines

__all__ = ["Products"]

_NO_ROWS: Final = Int8Section("scale", layout.STRIP, (0, 0), np.zeros(0, np.float32), 0)
"""Says where sums and operand are, and nothing else."""


class Products:
    """Writes down the products of a program.

    Args:
        program: The program.
        parts: Shares.
        addresses: Vector -> address.
        unsummed: Gates that take the sums of their products.
        tilings: What each part multiplies.
        operands: Operands in int8.
        records: Tables of the image; spans and sections are added.
        add_array: Adds an array to the image and returns its place.
    """

    def __init__(
        self,
        program: Program,
        parts: int,
        addresses: Mapping[str, int],
        unsummed: Unsummed,
        tilings: Tilings,
        operands: Operands,
        records: Mapping[str, list[Any]],
        add_array: Callable[[NDArray[Any]], int],
    ) -> None:
        self._parts, self._addresses, self._add_array = parts, addresses, add_array
        self._spans, self._sections = records["spans"], records["sections"]
        self._matrices = program.matrices
        self._shares: dict[int, list[tuple[int, int]]] = {}  # of a product -> a part's sections
        self._unsummed, self._tilings, self._operands = unsummed, tilings, operands

    def add(self, terms: list[MatVec]) -> None:
        """Add the sections of a sum of products."""
        sections = self._sections
        self._shares |= {id(term): [] for term in terms}
        for part in range(self._parts):
            for term in terms:
                mine = self._tilings.sections(term, part)
                if self._unsummed.gates(term) is not None:  # they have the scales
                    mine = [section for section in mine if section.kind != "scale"]
                self._shares[id(term)].append((len(sections), len(mine)))
                sections += [self._section(term, section, part) for section in mine]

    def sum(self, terms: list[MatVec]) -> dict[str, int]:
        """Return the record of an added sum, or of neighbouring terms of one."""
        first, pending = terms[0], self._unsummed.gates(terms[0]) is not None
        flags = (layout.ACCUMULATE if first.accumulate else 0) | (layout.SUMS if pending else 0)
        record = {
            "opcode": layout.OPCODES["product"],
            "flags": flags,
            "length": first.row_stop - first.row_start,
            "a": self._addresses[first.destination],
            "b": layout.NONE if first.bias is None or pending else self._addresses[first.bias],
            "first": len(self._spans),
        }
        for part in range(self._parts):
            shares = [self._shares[id(term)][part] for term in terms]
            count = sum(count for _, count in shares)
            self._spans.append((*self._tilings.rows(first, part), shares[0][0], count))
        return record

    def gates(self, code: LSTMGates | GRUGates) -> dict[str, int]:
        """Return what is different of gates that take sums; nothing for others."""
        if self._unsummed.gates(code) is None:
            return {}
        vectors = self._unsummed.vectors(code)
        terms = [term for of in vectors for term in of]
        clear = any(self._tilings.adds(term) for term in terms)
        first = len(self._spans)
        for part in range(self._parts):
            place = self._tilings.units(code, part)
            self._spans.append((*place, len(self._sections), len(terms)))
            for term in terms:
                record = self._int8_section(term, _NO_ROWS, part)
                self._sections.append(record | {"windows": int(clear)})
        lines = [gate_lines(self._tilings.row_constants(of), code.length) for of in vectors]
        offset = self._add_array(np.concatenate(lines, axis=1))
        return {"flags": layout.SUMS, "first": first, "offset": offset}

    def _section(self, term: MatVec, section: Section | Int8Section, share: int) -> dict[str, int]:
        precision = self._matrices[term.matrix].precision
        if isinstance(section, Int8Section):
            return self._int8_section(term, section, share)
        start, stop = section.columns
        stored = section.values
        if precision.name == BF16.name:  # exact but for halves of subnormal numbers
            stored = (stored.view(np.uint32) >> 16).astype(np.uint16)
            if section.paired is not None:  # two columns side by side, to be read at once
                pairs = stored[section.paired].reshape(-1, PAIR, layout.STRIP)
                stored[section.paired] = pairs.transpose(0, 2, 1).reshape(-1, layout.STRIP)
        values = self._add_array(stored)
        return {
            # Fixed point runs on the fp32 kernels: its weights are fp32 numbers, exactly.
            "dtype": layout.DTYPES.get(precision.name, layout.DTYPES[FP32.name]),
            "kind": layout.SECTION_KINDS[section.kind],
            "group": section.group,
            "windows": section.windows,
            "count": section.count,
            "columns": stop - start if section.kind == "dense" else section.lines,
            "row": section.row,
            "source": self._addresses[term.source.vector] + term.source.start + start,
            "source_length": stop - start,
            "heads": 0 if section.heads is None else self._add_array(section.heads),
            "indices": 0 if section.indices is None else self._add_array(section.indices),
            "values": values,
            "values_nbytes": stored.nbytes,
        }

    def _int8_section(self, term: MatVec, section: Int8Section, share: int) -> dict[str, int]:
        start, stop = section.columns
        return {
            "dtype": layout.DTYPES["int8"],
            "kind": layout.SECTION_KINDS[section.kind],
            "group": section.group,
            "windows": section.windows,
            "count": section.count,
            "columns": section.lines,
            "row": section.row,
            "source": self._operands.address(term, share),
            "source_length": stop - start,
            "sums": self._operands.sums(term, share),
            "column": start,
            "heads": 0 if section.heads is None else self._add_array(section.heads),
            "indices": 0 if section.indices is None else self._add_array(section.indices),
            "values": self._add_array(section.values),
            "values_nbytes": section.values.nbytes,
        }
