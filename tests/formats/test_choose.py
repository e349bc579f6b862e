import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.formats import (
    BSRCandidate,
    BSRMatrix,
    CirculantCandidate,
    CirculantMatrix,
    CSBCandidate,
    CSBMatrix,
    CSRMatrix,
    DenseMatrix,
    SparseBanksCandidate,
    SparseBanksMatrix,
    default_candidates,
    encode,
)


def random(rows, cols, seed=0):
    return np.random.default_rng(seed).standard_normal((rows, cols)).astype(np.float32)


def test_a_dense_matrix_stays_dense():
    assert isinstance(encode(random(40, 50)), DenseMatrix)


def test_no_candidate_means_dense():
    assert isinstance(encode(np.zeros((8, 8), np.float32), []), DenseMatrix)


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("group", [1, 4, 16])
def test_nothing_tried_is_smaller(keep, group):
    weight = random(48, 130)
    for top in range(0, 48, group):
        weight[top : top + group, np.random.default_rng(top).random(130) >= keep] = 0
    chosen = encode(weight)
    np.testing.assert_array_equal(chosen.to_dense(), weight)
    sizes = [c.encode(weight).nbytes for c in default_candidates(weight.shape)]
    assert chosen.nbytes == min(*sizes, weight.nbytes)


def test_a_hint_is_all_that_is_tried():
    weight = random(32, 64)
    weight[:, ::2] = 0
    chosen = encode(weight, [CSBCandidate((8, 64), 8)])
    assert isinstance(chosen, CSBMatrix)
    assert (chosen.block, chosen.row_group) == ((8, 64), 8)


def test_scattered_weights_go_to_single_rows():
    weight = random(64, 96) * (np.random.default_rng(1).random((64, 96)) < 0.1)
    chosen = encode(weight.astype("f4"))
    assert chosen.layout == "csb 1x64 row_group=1"
    assert chosen.nbytes < CSRMatrix.from_dense(weight.astype("f4")).nbytes


def test_each_rival_is_chosen_where_it_fits():
    weight = random(16, 32)
    weight[:, 1::4] = weight[:, 3::4] = 0
    assert isinstance(encode(weight, [SparseBanksCandidate(4)]), SparseBanksMatrix)
    weight[:, 8:] = 0
    assert isinstance(encode(weight, [BSRCandidate((4, 4))]), BSRMatrix)
    assert isinstance(encode(weight, [CirculantCandidate(4)]), DenseMatrix)
    circulant = np.tile(np.array([[1, 2], [2, 1]], np.float32), (8, 16))
    assert isinstance(encode(circulant, [CirculantCandidate(2)]), CirculantMatrix)


def test_a_bad_hint_is_refused():
    with pytest.raises(ArgumentError, match="row_group must divide"):
        encode(random(4, 4), [CSBCandidate((4, 4), 3)])
