import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.tasks.recordings import digest, find_recordings, read_wav

from .corpora import RATE, tone, write_digits, write_wav


def test_digits_are_split_by_their_index(tmp_path):
    found = find_recordings(write_digits(tmp_path))
    assert len(found) == 80
    assert {(r.label, r.speaker) for r in found} == {
        (str(digit), speaker) for digit in range(10) for speaker in ("ann", "bob")
    }
    assert all(r.test == (r.path.stem[-1] in "01") for r in found)


def test_speech_commands_are_split_by_their_list(tmp_path):
    for name in ("yes/a_nohash_0", "yes/b_nohash_0", "no/a_nohash_0", "_background_noise_/hum"):
        write_wav(tmp_path / f"{name}.wav", tone(1))
    (tmp_path / "testing_list.txt").write_text("yes/b_nohash_0.wav\n")
    found = find_recordings(tmp_path)
    assert [(r.label, r.speaker, r.test) for r in found] == [
        ("no", "a", False),
        ("yes", "a", False),
        ("yes", "b", True),
    ]


def test_folders_without_recordings_or_without_a_test_set_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match="must be a folder of recordings"):
        find_recordings(tmp_path / "nowhere")
    with pytest.raises(ArgumentError, match="holds no recordings to train on"):
        find_recordings(tmp_path)
    with pytest.raises(ArgumentError, match="holds no recordings to test on"):
        find_recordings(write_digits(tmp_path, indices=(7,)))


def test_wav_files_round_trip(tmp_path):
    write_wav(tmp_path / "a.wav", tone(3))
    samples, rate = read_wav(tmp_path / "a.wav")
    assert rate == RATE
    np.testing.assert_allclose(samples, tone(3), atol=1e-4)


def test_other_files_are_refused(tmp_path):
    write_wav(tmp_path / "stereo.wav", tone(3), channels=2)
    with pytest.raises(ArgumentError, match="must have one channel of 16-bit samples, not 2"):
        read_wav(tmp_path / "stereo.wav")
    (tmp_path / "text.wav").write_text("no sound")
    with pytest.raises(ArgumentError, match=r"text\.wav: can't be read as WAV"):
        read_wav(tmp_path / "text.wav")
    with pytest.raises(ArgumentError, match=r"missing\.wav: can't be read as WAV"):
        read_wav(tmp_path / "missing.wav")


def test_the_digest_changes_with_the_corpus_and_not_with_its_place(tmp_path):
    a, b = (digest(find_recordings(write_digits(tmp_path / name))) for name in "ab")
    assert a == b
    write_wav(tmp_path / "b" / "0_ann_5.wav", tone(0, 0.3))
    assert digest(find_recordings(tmp_path / "b")) != a
    write_wav(tmp_path / "a" / "0_ann_5.wav", tone(0, level=0.2))  # as long as before
    assert digest(find_recordings(tmp_path / "a")) != a


def test_files_of_another_rate_are_refused(tmp_path):
    write_wav(tmp_path / "a.wav", tone(3))
    assert read_wav(tmp_path / "a.wav", rate=RATE)[1] == RATE
    with pytest.raises(ArgumentError, match=r"a\.wav: has 8000 .* where the others have 16000"):
        read_wav(tmp_path / "a.wav", rate=16000)


def test_damaged_files_are_refused(tmp_path):
    write_wav(tmp_path / "empty.wav", [])
    write_wav(tmp_path / "cut.wav", tone(3))
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-3])
    for name in ("empty", "cut"):
        with pytest.raises(ArgumentError, match=rf"{name}\.wav: must hold whole samples"):
            read_wav(tmp_path / f"{name}.wav")


def test_a_list_that_is_no_text_is_refused(tmp_path):
    write_wav(tmp_path / "yes" / "a_nohash_0.wav", tone(1))
    (tmp_path / "testing_list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ArgumentError, match=r"testing_list\.txt: can't be read as text"):
        find_recordings(tmp_path)
