import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from csbrnn.accelerator import TIMING
from csbrnn.accelerator.strips import Strip, cut_long, deal_strips, fold

from .models import ARCH


def dense_of(strips, rows, cols):
    """What strips add up to."""
    total = np.zeros((rows, cols), np.int64)
    for s in strips:
        for q, row in enumerate(s.rows):
            total[row, s.x] += s.weights[:, q]
    return total


@st.composite
def strips(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    found = []
    for row in range(draw(st.integers(0, 12))):
        x = np.flatnonzero(rng.random(20) < 0.3)
        if len(x):
            weights = rng.integers(-9, 10, (len(x), 1)).astype(np.int32)
            found.append(Strip(np.array([row]), x, weights))
    return found


@given(strips())
def test_folding_changes_no_product_and_saves_words(found):
    folded = fold(ARCH, found)
    np.testing.assert_array_equal(dense_of(folded, 12, 20), dense_of(found, 12, 20))
    assert sum(len(s.x) for s in folded) <= sum(len(s.x) for s in found)
    assert all(len(s.rows) <= ARCH.lanes for s in folded)
    assert all(len(set(s.rows.tolist())) == len(s.rows) for s in folded)


def test_folding_takes_what_shares_most():
    x = [np.arange(0, 4), np.arange(10, 14), np.arange(1, 5)]
    found = [Strip(np.array([k]), v, np.ones((4, 1), np.int32)) for k, v in enumerate(x)]
    folded = fold(ARCH, found)
    assert sorted(len(s.x) for s in folded) == [4, 5]


def test_long_strips_are_cut():
    weights = np.arange(1000, dtype=np.int32)[:, None]
    pieces = cut_long([Strip(np.array([3]), np.arange(1000), weights)])
    assert max(len(p.x) for p in pieces) <= 96
    np.testing.assert_array_equal(np.concatenate([p.weights for p in pieces]), weights)


@given(strips(), strips())
def test_dealing_keeps_every_strip_and_its_distance(first, second):
    words = deal_strips(ARCH, [first, second])
    assert len(words) == ARCH.streams
    total = np.zeros((ARCH.y, 20), np.int64)
    for s in words:
        assert s.segment_words.sum() == len(s.x) == len(s.last)
        assert s.end.sum() == 2
        assert s.last.sum() == len(s.strips)
        starts = np.concatenate([[0], np.flatnonzero(s.last)[:-1] + 1]) if len(s.strips) else []
        for start, stop, rows in zip(starts, np.flatnonzero(s.last), s.strips, strict=True):
            for q, row in enumerate(rows):
                np.add.at(total[row], s.x[start : stop + 1], s.weights[start : stop + 1, q])
        at = np.flatnonzero(s.last)
        ring = np.concatenate([at, at + len(s.x)])
        rows = np.concatenate([s.strips, s.strips])
        for a in range(len(ring)):
            for b in range(a + 1, len(ring)):
                if ring[b] - ring[a] < TIMING.rmw:
                    same = (rows[a] == rows[b]) & (rows[a] != ARCH.dump_row)
                    assert not same.any()
    expected = dense_of([*first, *second], ARCH.y, 20)
    np.testing.assert_array_equal(total, expected)
    loads = [len(s.x) for s in words]
    longest = max((len(s.x) for s in [*first, *second]), default=0)
    assert max(loads) - min(loads) <= longest + 4 * TIMING.rmw
