import torch

from csbrnn.patterns import CSB, RowColumn


def test_a_row_and_a_column_without_energy_go():
    weight = torch.full((3, 4), 2.0)
    weight[1, :], weight[:, 2] = 0.1, 0.1
    mask = RowColumn().mask(weight, 0.5)
    expected = torch.ones(3, 4, dtype=torch.bool)
    expected[1, :], expected[:, 2] = False, False
    assert torch.equal(mask, expected)


def test_what_is_left_is_a_smaller_dense_matrix():
    mask = RowColumn().mask(torch.randn(20, 30), 0.3)
    rows, columns = mask.any(1), mask.any(0)
    assert torch.equal(mask, rows[:, None] & columns)
    assert 0 < int(mask.sum()) <= 180


def test_it_is_csb_of_one_block():
    weights = [torch.randn(9, 7), torch.randn(5, 11)]
    ours = RowColumn().mask_together(weights, 0.4)
    for mask, expected in zip(ours, CSB((None, None)).mask_together(weights, 0.4), strict=True):
        assert torch.equal(mask, expected)


def test_groups_are_rows_and_columns():
    rows, columns = RowColumn().groups((2, 3))
    assert rows.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert columns.tolist() == [[0, 1, 2], [0, 1, 2]]
