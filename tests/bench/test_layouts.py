import numpy as np
import pytest

from csbrnn.bench import Layout, parse_layout
from csbrnn.bench.layouts import layout_of
from csbrnn.errors import ArgumentError
from csbrnn.formats import CSBMatrix


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dense", None),
        ("block=16x64 row_group=16", Layout((16, 64), 16)),
        (" block=32x32 ", Layout((32, 32), 1)),
        ("block=8x4 row_group=8 all-or-nothing", Layout((8, 4), 8, True)),
    ],
)
def test_parse_layout(text, expected):
    assert parse_layout(text) == expected


@pytest.mark.parametrize("text", ["", "16x64", "block=16", "block=16x64 row_group=x"])
def test_layout_that_can_not_be_read(text):
    with pytest.raises(ArgumentError, match="must read 'dense' or 'block=16x64 row_group=16'"):
        parse_layout(text)


@pytest.mark.parametrize("text", ["block=0x4", "block=4x4 row_group=0", "block=6x4 row_group=4"])
def test_layout_that_does_not_fit(text):
    with pytest.raises(ArgumentError, match="row_group must divide its block's rows"):
        parse_layout(text)


@pytest.mark.parametrize("layout", [Layout((16, 64), 16), Layout((8, 4), 8, True)])
def test_text_is_read_back(layout):
    assert parse_layout(str(layout)) == layout


def test_whole_blocks_stay_or_go():
    mask = Layout((8, 4), 8, True).random_mask((64, 128), 0.25, np.random.default_rng(0))
    blocks = mask.reshape(8, 8, 32, 4).swapaxes(1, 2)

    assert mask.mean() == pytest.approx(0.25, abs=0.02)
    assert (blocks.all((2, 3)) == blocks.any((2, 3))).all()


def test_whole_blocks_at_ragged_edges():
    mask = Layout((8, 4), 8, True).random_mask((12, 6), 0.5, np.random.default_rng(0))

    assert mask.shape == (12, 6)


def test_layout_of_a_matrix():
    matrix = CSBMatrix.from_dense(np.eye(16, dtype=np.float32), (8, 4), 8)

    assert str(layout_of(matrix)) == "block=8x4 row_group=8"
