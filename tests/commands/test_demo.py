"""The demo at a size that takes seconds: the same code, the same promises."""

import dataclasses
import io
import json

import pytest

pytest.importorskip("torch")

from rich.console import Console

from csbrnn.commands import demo
from csbrnn.commands.demo import QUICK, run_demo
from csbrnn.errors import ArgumentError, UnsupportedModelError
from csbrnn.lock import locked
from csbrnn.model import load, run_reference
from csbrnn.tasks.text import TextCorpus, encode

TINY = dataclasses.replace(
    QUICK, hidden_size=16, dense_steps=40, steps=40, pruning_rate=2.0, bench_seconds=0.5
)


def console():
    return Console(file=io.StringIO(), width=100)


@pytest.fixture
def short_text(monkeypatch):
    """Three thousand characters: the whole reference would take most of the test's time."""
    text = demo.language_reference()[:3000]
    monkeypatch.setattr(demo, "language_reference", lambda: text)
    return text


def test_the_whole_path(tmp_path, short_text):
    screen = console()
    result = run_demo(TINY, tmp_path / "out", screen)
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result

    pruned, dense = result["pruned"], result["dense"]
    assert pruned["pruning_rate"] >= 2
    assert pruned["weights"] < dense["weights"]
    assert pruned["nbytes"] < dense["nbytes"]
    assert result["max_abs_error"] <= 1e-5
    assert {"csbrnn", "pytorch"} <= set(result["latency_us"])
    assert all(median > 0 for median in result["latency_us"].values())
    for key in ("dense", "pruned"):
        assert result[key]["bits_per_char"] == pytest.approx(
            result[key]["bits_per_char_pytorch"], abs=1e-4
        )
        assert 0 < result[key]["bits_per_char"] < 6
        assert result["samples"][key].startswith("The ")
    shown = screen.file.getvalue()
    assert f"{pruned['weights']:,}" in shown

    model = load(tmp_path / "out" / "pruned")
    tokens = encode("The ", model.metadata["vocabulary"])
    logits, _ = run_reference(model, tokens)
    assert logits.shape == (4, len(model.metadata["vocabulary"]))


def test_a_finished_demo_is_not_trained_again(tmp_path, short_text, monkeypatch):
    first = run_demo(TINY, tmp_path / "out", console())

    def no_batches(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(TextCorpus, "batch", no_batches)
    again = run_demo(TINY, tmp_path / "out", console())
    assert again["pruned"] == first["pruned"]


def test_other_settings_and_other_directories_are_refused(tmp_path, short_text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(ArgumentError, match="not empty and not from a demo"):
        run_demo(TINY, tmp_path / "mine", console(), restart=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()

    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "csbrnn-demo.json").write_text("{}")
    with pytest.raises(ArgumentError, match="holds a demo with other settings"):
        run_demo(TINY, tmp_path / "out", console())
    (tmp_path / "out" / "csbrnn-demo.json").write_bytes(b"\xff")
    with pytest.raises(ArgumentError, match="holds a demo with other settings"):
        run_demo(TINY, tmp_path / "out", console())
    (tmp_path / "out" / "notes.txt").write_text("precious")
    run_demo(TINY, tmp_path / "out", console(), restart=True)
    assert (tmp_path / "out" / "notes.txt").exists()
    with pytest.raises(ArgumentError, match="must be a directory"):
        run_demo(TINY, tmp_path / "mine" / "thesis.tex", console())


def test_an_engine_that_errs_is_not_reported_on(tmp_path, short_text, monkeypatch):
    real = demo.compile_model

    def wrong(model, *args):
        engine = real(model, *args)
        return lambda tokens: (engine(tokens)[0] + 0.01, None)

    monkeypatch.setattr(demo, "compile_model", wrong)
    with pytest.raises(UnsupportedModelError, match=r"differ from PyTorch's by 1\.0e-02"):
        run_demo(TINY, tmp_path / "out", console())
    assert not (tmp_path / "out" / "result.json").exists()


def test_one_demo_at_a_time(tmp_path, short_text):
    (tmp_path / "out").mkdir()
    with (
        locked(tmp_path / "out" / "lock", busy="no one else"),
        pytest.raises(ArgumentError, match="another process runs the demo here"),
    ):
        run_demo(TINY, tmp_path / "out", console())
