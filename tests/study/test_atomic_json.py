import json

import pytest

from csbrnn.study import write_atomically


def test_files_are_written_whole_or_not_at_all(tmp_path):
    write_atomically(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_atomically(tmp_path / "a.json", {"a": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
