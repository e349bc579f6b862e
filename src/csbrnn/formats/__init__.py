"""How surviving weights are stored: one class a format, and the choice among them.

`format` says what every stored matrix can do; `dense` and `csb` are the formats, with `blocking`,
`index` and `kernels` the parts of the latter; `choose` finds the smallest; `registry` reads any of
them back; `bits` packs integers, and `fields` reads a stranger's JSON.
"""

from csbrnn.formats.blocking import Blocking
from csbrnn.formats.choose import Candidate, default_candidates, encode
from csbrnn.formats.csb import CSBMatrix
from csbrnn.formats.dense import DenseMatrix
from csbrnn.formats.fields import Fields, located, shown
from csbrnn.formats.format import MAX_BLOCKS, MAX_DIMENSION, MAX_WEIGHTS, Matrix
from csbrnn.formats.index import ENCODINGS, Lines
from csbrnn.formats.kernels import KernelStats
from csbrnn.formats.registry import FORMATS, matrix_from_arrays

__all__ = [
    "ENCODINGS",
    "FORMATS",
    "MAX_BLOCKS",
    "MAX_DIMENSION",
    "MAX_WEIGHTS",
    "Blocking",
    "CSBMatrix",
    "Candidate",
    "DenseMatrix",
    "Fields",
    "KernelStats",
    "Lines",
    "Matrix",
    "default_candidates",
    "encode",
    "located",
    "matrix_from_arrays",
    "shown",
]
