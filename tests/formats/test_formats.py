"""What holds for every format in FORMATS but dense, on matrices of any size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csbrnn.errors import FormatError
from csbrnn.formats import (
    FORMATS,
    BSRCandidate,
    CirculantCandidate,
    CSBCandidate,
    CSRCandidate,
    DenseMatrix,
    SparseBanksCandidate,
    matrix_from_arrays,
)
from csbrnn.numerics import PRECISIONS

CANDIDATES = {
    "csb": [CSBCandidate((4, 5), 2), CSBCandidate((16, 16))],
    "csr": [CSRCandidate()],
    "sparse_banks": [SparseBanksCandidate(size) for size in (1, 3, 4, 64)],
    "bsr": [BSRCandidate(block) for block in ((1, 1), (2, 3), (4, 4), (64, 64))],
    "block_circulant": [CirculantCandidate(block) for block in (1, 2, 5, 16)],
}
every_candidate = pytest.mark.parametrize(
    "candidate", [c for found in CANDIDATES.values() for c in found], ids=repr
)
every_precision = pytest.mark.parametrize("precision", PRECISIONS.values(), ids=PRECISIONS)


@st.composite
def weights(draw, candidate):
    """Any matrix; for circulant blocks, one that has them, some of them zero."""
    rows, cols = draw(st.integers(0, 13)), draw(st.integers(0, 13))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
    if not isinstance(candidate, CirculantCandidate):
        values = rng.standard_normal((rows, cols)) * (rng.random((rows, cols)) < density)
        return values.astype(np.float32)
    block = candidate.block
    down, across = -(-rows // block), -(-cols // block)
    vectors = rng.standard_normal((down, across, block)) * (rng.random((down, across, 1)) < density)
    whole = np.array(
        [
            [vectors[i // block, j // block, (i - j) % block] for j in range(across * block)]
            for i in range(down * block)
        ]
    ).reshape(down * block, across * block)
    return np.ascontiguousarray(whole[:rows, :cols], np.float32)


def test_every_format_is_covered():
    assert set(CANDIDATES) == set(FORMATS) - {"dense"}
    for name, candidates in CANDIDATES.items():
        for candidate in candidates:
            matrix = candidate.encode(np.zeros((4, 4), np.float32))
            assert matrix.header()["format"] == name


@every_candidate
@settings(max_examples=60)
@given(data=st.data())
def test_round_trips_and_counts(candidate, data):
    weight = data.draw(weights(candidate))
    matrix = candidate.encode(weight)
    again = matrix_from_arrays(matrix.header(), matrix.arrays())
    for one in (matrix, again):
        np.testing.assert_array_equal(one.to_dense(), weight)
        assert one.shape == weight.shape
        assert one.nbytes * 8 == 32 * one.kept + one.index_bits
        assert one.layout.startswith(one.FORMAT)
        for array in one.arrays().values():
            assert not array.flags.writeable
    for name, array in matrix.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)
    if weight.size:
        assert matrix.header() == again.header()


@every_candidate
@every_precision
@settings(max_examples=20)
@given(data=st.data())
def test_every_precision(candidate, precision, data):
    weight = data.draw(weights(candidate))
    exact = candidate.encode(weight)
    matrix = exact.with_precision(precision)
    assert (matrix.precision, matrix.kept, matrix.index_bits) == (
        precision,
        exact.kept,
        exact.index_bits,
    )
    again = matrix_from_arrays(matrix.header(), matrix.arrays())
    np.testing.assert_array_equal(again.to_dense(), matrix.to_dense())
    np.testing.assert_array_equal(again.to_dense(), precision.dequantize(matrix.to_quantized()))
    assert matrix.with_precision(precision) is matrix
    back = matrix.with_precision(PRECISIONS["fp32"])
    np.testing.assert_array_equal(back.to_dense(), matrix.to_dense())
    for name, array in back.with_precision(precision).arrays().items():
        np.testing.assert_array_equal(array, matrix.arrays()[name])
    # Circulant blocks that are cut off share a scale that is not their rows' own.
    if not isinstance(candidate, CirculantCandidate) or weight.shape[1] % candidate.block == 0:
        np.testing.assert_array_equal(matrix.to_dense(), precision.rounded(weight))
    expected = candidate.nbytes(weight, weight != 0, precision)
    assert expected == matrix.nbytes


@every_candidate
def test_what_is_missing_or_unknown_is_refused(candidate):
    matrix = candidate.encode(np.zeros((8, 8), np.float32))
    header, arrays = matrix.header(), matrix.arrays()
    for key in header:
        with pytest.raises(FormatError, match=f"header.{key} is missing"):
            matrix_from_arrays({k: v for k, v in header.items() if k != key}, arrays)
    for name in arrays:
        with pytest.raises(FormatError, match=f"array {name} is missing"):
            matrix_from_arrays(header, {k: v for k, v in arrays.items() if k != name})
    with pytest.raises(FormatError, match="unknown keys: 'note'"):
        matrix_from_arrays(header | {"note": 1}, arrays)
    with pytest.raises(FormatError, match="unknown arrays: 'extra'"):
        matrix_from_arrays(header, arrays | {"extra": np.zeros(1, "u1")})
    with pytest.raises(FormatError, match="dtype must be one of"):
        matrix_from_arrays(header | {"dtype": "fp64"}, arrays)


@every_candidate
def test_any_byte_may_be_wrong(candidate):
    """Flipped bits are refused by a `FormatError`, or make another valid matrix."""
    rng = np.random.default_rng(4)
    weight = np.zeros((9, 11), np.float32)
    weight[1:3, 2:9] = 1
    if isinstance(candidate, CirculantCandidate):
        weight[:] = 1
    matrix = candidate.encode(weight)
    for _ in range(300):
        arrays = {name: array.copy() for name, array in matrix.arrays().items()}
        name = rng.choice([name for name, array in arrays.items() if array.size])
        flat = arrays[name].view(np.uint8).reshape(-1)
        flat[rng.integers(flat.size)] ^= 1 << rng.integers(8)
        try:
            changed = matrix_from_arrays(matrix.header(), arrays)
        except FormatError:
            continue
        again = DenseMatrix(changed.to_dense())
        np.testing.assert_array_equal(
            matrix_from_arrays(changed.header(), changed.arrays()).to_dense(), again.values
        )
