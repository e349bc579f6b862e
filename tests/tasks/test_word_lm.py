import math
from pathlib import Path

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.nn import pack
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.task import Network
from csbrnn.tasks.text import UNKNOWN, read_text
from csbrnn.tasks.training import Training
from csbrnn.tasks.word_lm import WordLMTask, split_words


@pytest.fixture
def task(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat, the dog did not.\n" * 120)
    return WordLMTask(data=str(tmp_path / "t.txt"), vocabulary=8, embedding_size=8)


def test_texts_are_cut_into_words_signs_and_lines():
    assert split_words("It's 5 o'clock,  he\tsaid.\n\n") == [
        *("It", "'", "s", "5", "o", "'", "clock", ",", "he", "said", ".", "\n", "\n")
    ]


def test_the_vocabulary_holds_the_most_frequent_words(task):
    assert task.corpus.vocabulary[:2] == (UNKNOWN, "the")
    assert len(task.corpus.vocabulary) == 8
    words = split_words(read_text(Path(task.data)))
    assert len(task.corpus.train) + len(task.corpus.held_out) == len(words)
    unknown = [word for word in set(words) if word not in task.corpus.vocabulary]
    assert unknown
    assert (task.corpus.held_out == 0).sum() > 0


def test_an_untrained_network_is_as_perplexed_as_its_vocabulary_is_large(task, tmp_path):
    model = task.build(Network(hidden_size=16))
    score = task.evaluate(model)
    assert score.value == pytest.approx(8, rel=0.3)
    task.train(
        model, Training(steps=60, learning_rate=1e-2, seq_len=12), checkpoint=tmp_path / "c.pt"
    )
    learned = task.evaluate(model)
    assert learned.value < 0.6 * score.value
    assert math.isfinite(learned.stderr) or len(learned.counts) == 1
    engine = compile_model(pack(model, metadata=task.metadata()))
    assert task.evaluate_engine(engine).value == pytest.approx(learned.value, rel=1e-4)


def test_what_is_no_corpus_is_refused(tmp_path):
    (tmp_path / "t.txt").write_text("too short")
    with pytest.raises(ArgumentError, match="at least 1,000 words, got 2"):
        _ = WordLMTask(data=str(tmp_path / "t.txt")).corpus
    with pytest.raises(ArgumentError, match="at least 2, not 1"):
        WordLMTask(vocabulary=1)
