import pytest

from csbrnn.study.result import _judged


@pytest.mark.parametrize(
    ("pattern", "friendly"),
    [("dense", True), ("csb(block=4x64,row_group=4)", True), ("unstructured()", False)],
)
def test_rows_say_whether_a_pattern_is_hardware_friendly(pattern, friendly):
    row = {"pattern": pattern, "value": 1.0}
    assert _judged(row) == {**row, "hardware_friendly": friendly}
    assert _judged(_judged(row)) == _judged(row)
    assert "hardware_friendly" not in row
