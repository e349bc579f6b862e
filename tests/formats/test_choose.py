import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.formats import Candidate, CSBMatrix, DenseMatrix, default_candidates, encode


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
    sizes = [CSBMatrix.from_dense(weight, *c).nbytes for c in default_candidates(weight.shape)]
    assert chosen.nbytes == min(*sizes, weight.nbytes)


def test_a_hint_is_all_that_is_tried():
    weight = random(32, 64)
    weight[:, ::2] = 0
    chosen = encode(weight, [Candidate((8, 64), 8)])
    assert isinstance(chosen, CSBMatrix)
    assert (chosen.block, chosen.row_group) == ((8, 64), 8)


def test_a_bad_hint_is_refused():
    with pytest.raises(ArgumentError, match="row_group must divide"):
        encode(random(4, 4), [Candidate((4, 4), 3)])
