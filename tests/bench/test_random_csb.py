import numpy as np
import pytest

from csbrnn.bench.random_csb import random_csb
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix

LAYOUTS = [((16, 64), 16), ((32, 32), 1), ((64, 64), 4), ((1, 16), 1), ((7, 9), 7)]


@pytest.mark.parametrize(("block", "row_group"), LAYOUTS)
@pytest.mark.parametrize("shape", [(256, 192), (250, 70), (5, 3)])
def test_mask_is_csb_of_the_layout(shape, block, row_group):
    mask = random_csb(shape, block, row_group, 0.2, np.random.default_rng(0))

    assert mask.shape == shape
    # Stored as CSB of these blocks, nothing but the mask's own weights is kept.
    assert CSBMatrix.from_dense(mask.astype(np.float32), block, row_group).kept == mask.sum()


@pytest.mark.parametrize(("block", "row_group"), LAYOUTS[:3])
def test_density_is_met(block, row_group):
    mask = random_csb((1024, 512), block, row_group, 1 / 13.5, np.random.default_rng(0))

    # One line of one block is the step in which the count can be adjusted: far below 1%.
    assert mask.mean() == pytest.approx(1 / 13.5, rel=0.01)


def test_blocks_are_unequal_as_after_pruning():
    mask = random_csb((1024, 1024), (64, 64), 4, 0.1, np.random.default_rng(0))
    stats = CSBMatrix.from_dense(mask.astype(np.float32), (64, 64), 4).kernel_stats()

    assert stats.smallest < 0.7 * stats.mean < 1.5 * stats.mean < stats.largest


def test_density_one_keeps_everything_and_seeds_decide():
    assert random_csb((33, 20), (16, 8), 4, 1.0, np.random.default_rng(0)).all()
    a, b, c = (random_csb((64, 64), (16, 16), 1, 0.3, np.random.default_rng(k)) for k in (1, 1, 2))
    assert (a == b).all()
    assert (a != c).any()


@pytest.mark.parametrize("density", [0, -1, 1.5, float("nan")])
def test_density_out_of_range_is_refused(density):
    with pytest.raises(ArgumentError, match=r"density must lie in \(0, 1\]"):
        random_csb((8, 8), (4, 4), 1, density, np.random.default_rng(0))
