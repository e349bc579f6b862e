"""How surviving weights are stored: one class a format, and the choice among them.

`format` says what every stored matrix can do; `dense`, `csb`, `csr`, `sparse_banks`, `bsr` and
`circulant` are the formats, with `blocking`, `index`, `kernels` and `block_grid` parts of them;
`candidate` and `choose` find the smallest; `registry` reads any of them back; `bits` packs
integers, and `fields` reads a stranger's JSON.
"""

from csbrnn.formats.blocking import Blocking
from csbrnn.formats.bsr import BSRMatrix
from csbrnn.formats.candidate import (
    BSRCandidate,
    Candidate,
    CirculantCandidate,
    CSBCandidate,
    CSRCandidate,
    SparseBanksCandidate,
)
from csbrnn.formats.choose import default_candidates, encode
from csbrnn.formats.circulant import CirculantMatrix
from csbrnn.formats.csb import CSBMatrix
from csbrnn.formats.csr import CSRMatrix
from csbrnn.formats.dense import DenseMatrix
from csbrnn.formats.fields import Fields, located, shown
from csbrnn.formats.format import MAX_BLOCKS, MAX_DIMENSION, MAX_WEIGHTS, Matrix
from csbrnn.formats.index import ENCODINGS, Lines
from csbrnn.formats.kernels import KernelStats
from csbrnn.formats.registry import FORMATS, matrix_from_arrays
from csbrnn.formats.sparse_banks import SparseBanksMatrix

__all__ = [
    "ENCODINGS",
    "FORMATS",
    "MAX_BLOCKS",
    "MAX_DIMENSION",
    "MAX_WEIGHTS",
    "BSRCandidate",
    "BSRMatrix",
    "Blocking",
    "CSBCandidate",
    "CSBMatrix",
    "CSRCandidate",
    "CSRMatrix",
    "Candidate",
    "CirculantCandidate",
    "CirculantMatrix",
    "DenseMatrix",
    "Fields",
    "KernelStats",
    "Lines",
    "Matrix",
    "SparseBanksCandidate",
    "SparseBanksMatrix",
    "default_candidates",
    "encode",
    "located",
    "matrix_from_arrays",
    "shown",
]
