import json

import pytest

from csbrnn.errors import ArgumentError, FormatError
from csbrnn.search.journal import Journal

SETTINGS = {"a": 1, "nested": {"b": (2, 3)}}


def test_rows_come_back(tmp_path):
    with Journal(tmp_path / "new" / "log.jsonl", "test", SETTINGS) as journal:
        journal.append({"rate": 4.0})
        journal.append({"rate": 1 / 3, "metric": None})
        rows = list(journal.rows)
    with Journal(tmp_path / "new" / "log.jsonl", "test", SETTINGS) as journal:
        assert journal.rows == rows == [{"rate": 4.0}, {"rate": 1 / 3, "metric": None}]


@pytest.mark.parametrize("cut", range(1, 40, 6))
def test_a_row_cut_short_by_a_kill_is_dropped_whole(tmp_path, cut):
    path = tmp_path / "log.jsonl"
    with Journal(path, "test", SETTINGS) as journal:
        journal.append({"row": 1})
        journal.append({"row": 2, "text": "x" * 40})
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path, "test", SETTINGS) as journal:
        assert journal.rows == [{"row": 1}]
        journal.append({"row": 3})
    assert [json.loads(line) for line in path.read_text().splitlines()][1:] == [
        {"row": 1},
        {"row": 3},
    ]


def test_a_header_cut_short_is_written_again(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text('{"kind": "te')
    with Journal(path, "test", SETTINGS) as journal:
        journal.append({"row": 1})
    with Journal(path, "test", SETTINGS) as journal:
        assert journal.rows == [{"row": 1}]


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / "log.jsonl"
    with Journal(path, "test", SETTINGS), pytest.raises(ArgumentError, match="another process"):
        Journal(path, "test", SETTINGS)
    Journal(path, "test", SETTINGS).close()


def test_other_settings_are_named(tmp_path):
    path = tmp_path / "log.jsonl"
    Journal(path, "test", SETTINGS).close()
    with pytest.raises(ArgumentError, match=r"nested\.b was \[2, 3\], is \[2, 4\]; c was None"):
        Journal(path, "test", {"a": 1, "nested": {"b": [2, 4]}, "c": 5})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("not json\n", r"line 1: no JSON"),
        ("[1]\n", "must be a JSON object"),
        ('{"kind": "other", "version": 1, "settings": {}}\n', "must be the log of a test"),
        ('{"kind": "test", "version": 99, "settings": {}}\n', "version 1"),
    ],
)
def test_files_of_another_kind(tmp_path, text, error):
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(FormatError, match=error):
        Journal(path, "test", SETTINGS)
    assert path.read_text() == text


def test_values_that_json_lacks_are_refused(tmp_path):
    with Journal(tmp_path / "log.jsonl", "test", SETTINGS) as journal:
        with pytest.raises(ValueError, match="JSON"):
            journal.append({"metric": float("nan")})
        assert journal.rows == []


@pytest.mark.parametrize(
    "content", [b"somebody's notes", b"notes\nmore", b'{"kind": "other"}\n{"a"']
)
def test_a_file_that_is_not_ours_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "log.jsonl"
    path.write_bytes(content)
    with pytest.raises(FormatError):
        Journal(path, "test", SETTINGS)
    assert path.read_bytes() == content
