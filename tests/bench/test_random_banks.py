"""Every bank of a row keeps the same number, whatever is random about which."""

import numpy as np

from csbrnn.bench.random_banks import random_banks


def test_every_bank_of_every_row_keeps_four():
    mask = random_banks((6, 3 * 54), 13.5, np.random.default_rng(0))
    assert (mask.reshape(6, 3, 54).sum(axis=2) == 4).all()
    assert len(np.unique(mask, axis=0)) == 6


def test_a_short_last_bank_keeps_its_share():
    mask = random_banks((5, 54 + 27), 13.5, np.random.default_rng(0))
    assert (mask[:, 54:].sum(axis=1) == 2).all()
