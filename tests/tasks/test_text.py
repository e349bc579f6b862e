import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.tasks.text import UNKNOWN, TextCorpus, decode, encode, language_reference, read_text

TEXT = "the quick brown fox jumps over the lazy dog\n" * 50


def test_language_reference_is_real_text_without_repeated_paragraphs():
    text = language_reference()
    assert len(text) > 200_000
    paragraphs = ["\n".join(x.strip() for x in p.strip().splitlines()) for p in text.split("\n\n")]
    assert len(set(paragraphs)) == len(paragraphs)


def test_corpus_splits_and_round_trips():
    corpus = TextCorpus.from_text(TEXT, held_out=0.25)
    assert len(corpus.held_out) == round(len(TEXT) * 0.25)
    assert (
        decode(corpus.train, corpus.vocabulary) + decode(corpus.held_out, corpus.vocabulary) == TEXT
    )


def test_held_out_characters_that_training_lacks_become_unknown():
    corpus = TextCorpus.from_text(TEXT + "Ω" * 10, held_out=0.1)
    assert corpus.vocabulary[0] == UNKNOWN
    assert "Ω" not in corpus.vocabulary
    assert (corpus.held_out[-10:] == 0).all()
    assert encode("Ω", corpus.vocabulary)[0] == 0


def test_batches_are_shifted_windows_and_repeat_with_the_seed():
    corpus = TextCorpus.from_text(TEXT)
    inputs, targets = corpus.batch(np.random.default_rng(3), batch=5, seq_len=7)
    again, _ = corpus.batch(np.random.default_rng(3), batch=5, seq_len=7)
    assert inputs.shape == targets.shape == (7, 5)
    np.testing.assert_array_equal(inputs[1:], targets[:-1])
    np.testing.assert_array_equal(inputs, again)
    joined = decode(corpus.train, corpus.vocabulary)
    assert all(decode(column, corpus.vocabulary) in joined for column in inputs.T)


def test_too_short_texts_are_refused():
    with pytest.raises(ArgumentError, match=r"at least 1,000 characters, got 3"):
        TextCorpus.from_text("abc")
    with pytest.raises(ArgumentError, match="longer than seq_len = 5000"):
        TextCorpus.from_text(TEXT).batch(np.random.default_rng(0), 1, 5000)


def test_files_that_are_no_text_are_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"nothing\.txt: can't be read"):
        read_text(tmp_path / "nothing.txt")
    (tmp_path / "binary").write_bytes(b"ab\xff\xfe")
    with pytest.raises(ArgumentError, match="must be UTF-8 text; byte 2 is not"):
        read_text(tmp_path / "binary")


def test_what_is_held_out_must_have_something_to_predict():
    with pytest.raises(ArgumentError, match=r"held_out = 0\.001 of 1,000 characters must be 2"):
        TextCorpus.from_text("ab" * 500, held_out=0.001)
    assert len(TextCorpus.from_text("ab" * 500, held_out=0.002).held_out) == 2
