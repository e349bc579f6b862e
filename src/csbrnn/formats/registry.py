"""Every format by name, and reading a matrix of any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from numpy.typing import NDArray

from csbrnn.formats.bsr import BSRMatrix
from csbrnn.formats.circulant import CirculantMatrix
from csbrnn.formats.csb import CSBMatrix
from csbrnn.formats.csr import CSRMatrix
from csbrnn.formats.dense import DenseMatrix
from csbrnn.formats.fields import Fields
from csbrnn.formats.format import Matrix
from csbrnn.formats.sparse_banks import SparseBanksMatrix

__all__ = ["FORMATS", "matrix_from_arrays"]

FORMATS: Final[dict[str, type[Matrix]]] = {
    DenseMatrix.FORMAT: DenseMatrix,
    CSBMatrix.FORMAT: CSBMatrix,
    CSRMatrix.FORMAT: CSRMatrix,
    SparseBanksMatrix.FORMAT: SparseBanksMatrix,
    BSRMatrix.FORMAT: BSRMatrix,
    CirculantMatrix.FORMAT: CirculantMatrix,
}
"""Format name, as files have it -> its class."""


def matrix_from_arrays(
    header: object, arrays: Mapping[str, NDArray[Any]], where: str = "header"
) -> Matrix:
    """Read a matrix of any format back, trusting neither header nor arrays.

    Raises:
        FormatError: The format is unknown, or anything `Matrix.from_arrays` refuses.
    """
    fields = Fields(header, where)
    name = fields.choice("format", FORMATS)
    return FORMATS[name].from_arrays({"format": name, **fields.rest()}, arrays, where)
