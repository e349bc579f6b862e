"""The command line as a user meets it: each verb, and each way to get it wrong."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from csbrnn import cli
from csbrnn.errors import CsbrnnWarning
from csbrnn.formats import DenseMatrix
from csbrnn.model import run_reference, save


@pytest.fixture
def text_dir(text_model, tmp_path):
    save(text_model, tmp_path / "text")
    return str(tmp_path / "text")


@pytest.fixture
def feature_dir(feature_model, tmp_path):
    save(feature_model, tmp_path / "features")
    return str(tmp_path / "features")


def invoke(*args, stdin=None):
    return CliRunner().invoke(cli.app, [str(a) for a in args], input=stdin, catch_exceptions=False)


def call(monkeypatch, capsys, *args, stdin=""):
    """Runs `main` as the console script does; returns its exit status, output and errors."""
    monkeypatch.setattr(sys, "argv", ["csbrnn", *map(str, args)])
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    out, err = capsys.readouterr()
    return stop.value.code or 0, out, " ".join(err.split())


@pytest.mark.parametrize(
    "verb", ["demo", "pack", "inspect", "run", "bench", "export", "study", "report"]
)
def test_every_verb_explains_itself(verb):
    result = invoke(verb, "--help")
    assert result.exit_code == 0
    assert "--json" in result.output


def test_version():
    assert invoke("--version").output.strip() == "0.1.0"


def test_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "csbrnn", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0.1.0"


def test_inspect_tells_every_matrix(text_dir, text_model, tmp_path):
    result = invoke("inspect", text_dir, "--json", tmp_path / "i.json")
    assert result.exit_code == 0
    data = json.loads((tmp_path / "i.json").read_text())
    assert {row["name"] for row in data["matrices"]} == set(text_model.matrices)
    assert sum(row["kept"] for row in data["matrices"]) == data["kept_weights"]
    hidden = next(row for row in data["matrices"] if row["name"] == "lstm/weight_hh_l0")
    assert hidden["shape"] == [48, 12]
    assert hidden["pattern"] == "csb 4x8 row_group=4"
    assert hidden["pruning_rate"] == pytest.approx(48 * 12 / hidden["kept"])
    assert hidden["blocks"]["largest"] <= 32


def test_run_scores_text_like_the_definition(text_dir, text_model, tmp_path, monkeypatch, capsys):
    text = "abc de\nTab " * 5
    (tmp_path / "in.txt").write_text(text)
    status, out, _ = call(
        monkeypatch,
        capsys,
        "run",
        text_dir,
        tmp_path / "in.txt",
        "--output",
        tmp_path / "out.npy",
        "--json",
        tmp_path / "r.json",
    )
    assert status == 0
    tokens = np.array([text_model.metadata["vocabulary"].index(c) for c in text])
    expected, _ = run_reference(text_model, tokens)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)
    log_p = expected - np.log(np.exp(expected).sum(-1, keepdims=True))
    bits = -log_p[np.arange(len(text) - 1), tokens[1:]].mean() / np.log(2)
    assert json.loads((tmp_path / "r.json").read_text())["bits_per_char"] == pytest.approx(
        bits, abs=1e-5
    )
    assert f"{bits:.4f} bits per character" in out


def test_run_generates_and_repeats_with_the_seed(text_dir, monkeypatch, capsys):
    args = ("run", text_dir, "--prompt", "Tab", "--generate", 30)
    _, first, _ = call(monkeypatch, capsys, *args)
    _, again, _ = call(monkeypatch, capsys, *args)
    _, other, _ = call(monkeypatch, capsys, *args, "--seed", 1)
    assert first == again != other
    assert first.startswith("Tab")
    assert len(first) == len("Tab") + 30 + 1
    _, piped, _ = call(monkeypatch, capsys, "run", text_dir, "-", "--generate", 30, stdin="Tab")
    assert piped == first


def test_run_answers_lines_of_numbers_as_they_come(feature_dir, feature_model, monkeypatch, capsys):
    xs = np.random.default_rng(0).normal(size=(7, 5))
    lines = "\n".join(",".join(map(str, x)) for x in xs) + "\n\n"
    status, out, _ = call(monkeypatch, capsys, "run", feature_dir, stdin=lines)
    assert status == 0
    expected, _ = run_reference(feature_model, xs)
    np.testing.assert_allclose(np.loadtxt(out.splitlines()), expected, atol=1e-5)


def test_run_takes_arrays(feature_dir, feature_model, tmp_path, monkeypatch, capsys):
    xs = np.random.default_rng(0).normal(size=(7, 5)).astype(np.float32)
    np.save(tmp_path / "in.npy", xs)
    expected, _ = run_reference(feature_model, xs)
    _, out, _ = call(monkeypatch, capsys, "run", feature_dir, tmp_path / "in.npy")
    np.testing.assert_allclose(np.loadtxt(out.splitlines()), expected, atol=1e-5)


WRONG = [
    (("inspect", "{missing}"), "", "missing"),
    (("run", "{features}"), "1 2 3\n", "line 1: the model takes 5 numbers a step, got 3"),
    (("run", "{features}"), "1 2 3 4 x\n", "line 1: must be numbers, not '1 2 3 4 x'"),
    (("run", "{features}"), "0" * 385, "line 1: must have at most 384 characters"),
    (("run", "{features}", "--generate", "3"), "", "pack --vocabulary FILE"),
    (("run", "{features}", "{batch}"), "", "a single sequence, without an axis for a batch"),
    (("accuracy", "{features}", "{batch}"), "", "must have the shape (steps, features)"),
    (("run", "{features}", "{binary}"), "", "must be lines of numbers, and is no text"),
    (("run", "{features}", "{words}"), "", "words.txt, line 1: must be numbers, not 'hello'"),
    (("run", "{features}", "{missing}.npy"), "", "can't be read as a .npy array"),
    (("run", "{text}"), "", "nothing to do"),
    (("run", "{text}", "--generate", "3", "--output", "{missing}"), "", "--output gets what"),
    (("run", "{text}", "-"), "\udcff abc", "standard input: must be UTF-8 text"),
    (("accuracy", "{text}", "{empty}"), "", "must hold two characters or more, has 0"),
    (("run", "{text}", "-", "--prompt", "a"), "", "an INPUT or a --prompt, not both"),
    (("run", "{text}", "{missing}.txt"), "", "can't be read: No such file"),
    (("pack", "no_such_module:make", "--out", "{missing}"), "", "no_such_module"),
    (("run", "{text}", "x.npy", "--generate", "3"), "", "--generate continues a text"),
    (("run", "{text}", "--temperature", "nan", "--generate", "3"), "", "--temperature must be a"),
    (("run", "{text}", "--prompt", "a"), "", "a score needs at least 2 characters"),
    (("bench", "{missing}"), "", "must be a case (sr, mt, gru512, small16, small64) or the"),
    (("bench", "{text}", "--layout", "block=4x64"), "", "has its own"),
    (("inspect", "{text}", "--json", "{words}/x.json"), "", "can't be written"),
    (("inspect", "{text}", "--json", "{text}"), "", "can't be written"),
    (("hw", "verify", "{missing}", "--json", "{words}/x.json"), "", "--json"),
    (("run", "{missing}", "{missing}", "--output", "{words}/x.npy"), "", "--output"),
]


@pytest.mark.parametrize(("args", "stdin", "message"), WRONG)
def test_wrong_use_gives_one_clear_error(
    args, stdin, message, text_dir, feature_dir, tmp_path, monkeypatch, capsys
):
    places = {"text": text_dir, "features": feature_dir, "missing": str(tmp_path / "missing")}
    places |= {
        name: str(tmp_path / name) for name in ("batch.npy", "binary.pt", "words.txt", "empty.txt")
    }
    places = {name.partition(".")[0]: place for name, place in places.items()}
    np.save(places["batch"], np.zeros((1, 7, 5), np.float32))
    Path(places["binary"]).write_bytes(bytes(range(256)))
    Path(places["words"]).write_text("hello")
    Path(places["empty"]).write_text("")
    status, _, err = call(monkeypatch, capsys, *(arg.format(**places) for arg in args), stdin=stdin)
    assert status == 1
    assert err.startswith("error: ")
    assert message in err


def test_a_seed_below_zero_is_wrong_use(text_dir):
    result = invoke("run", text_dir, "--prompt", "a", "--generate", 3, "--seed", -1)
    assert result.exit_code == 2


def test_a_token_model_of_ones_own(tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential()
    module.add_module("embedding", torch.nn.Embedding(4, 3))
    module.add_module("rnn", torch.nn.GRU(3, 5))
    module.add_module("output", torch.nn.Linear(5, 4))
    torch.save(module.state_dict(), tmp_path / "w.pt")
    bare = ("pack", tmp_path / "w.pt", "--out", tmp_path / "new" / "bare")
    assert invoke(*bare).exit_code == 0
    status, out, _ = call(
        monkeypatch, capsys, "run", tmp_path / "new" / "bare", "-", stdin="1\n3\n"
    )
    assert (status, len(out.splitlines())) == (0, 2)
    status, _, err = call(monkeypatch, capsys, "run", tmp_path / "new" / "bare", "-", stdin="4\n")
    assert (status, "line 1: the model takes a token, 0..3 a step, got 4" in err) == (1, True)
    for text, status in (
        ('["?", "a", "b", "c"]', 0),
        ('["?", "a", "a", "c"]', 1),
        ('["?", "a", "b"]', 1),
        ('"abcd"', 1),
    ):
        (tmp_path / "v.json").write_text(text)
        pack = ("pack", tmp_path / "w.pt", "--out", tmp_path / "text", "--vocabulary")
        assert call(monkeypatch, capsys, *pack, tmp_path / "v.json")[0] == status
    (tmp_path / "in.txt").write_text("abca")
    status, out, _ = call(monkeypatch, capsys, "run", tmp_path / "text", tmp_path / "in.txt")
    assert (status, "bits per character over 4" in out) == (0, True)
    one = ("run", tmp_path / "text", "--prompt", "a", "--output", tmp_path / "one.npy")
    assert call(monkeypatch, capsys, *one)[0] == 0
    assert np.load(tmp_path / "one.npy").shape == (1, 4)
    torch.save(torch.nn.LSTM(3, 4).state_dict(), tmp_path / "w.pt")
    (tmp_path / "v.json").write_text('["?", "a", "b"]')
    status, _, err = call(monkeypatch, capsys, *pack, tmp_path / "v.json")
    assert (status, "is for models that read tokens; this one reads 3" in err) == (1, True)


def test_a_pattern_that_weights_do_not_follow_is_told(tmp_path):
    torch = pytest.importorskip("torch")
    csbrnn = pytest.importorskip("csbrnn")
    from csbrnn.patterns import parse_pattern

    layer = torch.nn.LSTM(32, 32)
    csbrnn.prune_(
        layer,
        csbrnn.Recipe("csb(block=8x8,row_group=8)", pruning_rate=8, method=csbrnn.OneShot()),
    ).detach()
    with pytest.warns(
        CsbrnnWarning, match=r"weight_hh_l0 do not follow block_circulant.* dense in"
    ):
        csbrnn.pack(layer, pattern=parse_pattern("block_circulant(block=8)"))
    csbrnn.pack(layer, pattern=parse_pattern("csb(block=8x8,row_group=8)"))


def test_a_corrupt_model_is_refused_in_one_line(text_dir, monkeypatch, capsys):
    with open(f"{text_dir}/model.safetensors", "r+b") as file:
        file.seek(3)
        file.write(b"\xff")
    status, _, err = call(monkeypatch, capsys, "inspect", text_dir)
    assert status == 1
    assert err.startswith("error: ")
    assert "model.safetensors" in err


def test_pack_from_a_module_and_its_checkpoint(tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    (tmp_path / "my_module.py").write_text(
        "import torch\ndef make():\n    return torch.nn.LSTM(5, 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    torch.manual_seed(3)
    module = torch.nn.LSTM(5, 8)
    torch.save(module.state_dict(), tmp_path / "model.pt")
    status, _, err = call(
        monkeypatch,
        capsys,
        "pack",
        "my_module:make",
        "--checkpoint",
        tmp_path / "model.pt",
        "--out",
        tmp_path / "packed",
    )
    assert status == 0, err
    xs = np.random.default_rng(0).normal(size=(4, 5)).astype(np.float32)
    np.save(tmp_path / "in.npy", xs)
    call(
        monkeypatch,
        capsys,
        "run",
        tmp_path / "packed",
        tmp_path / "in.npy",
        "--output",
        tmp_path / "out.npy",
    )
    with torch.no_grad():
        expected, _ = module(torch.from_numpy(xs))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected.numpy(), atol=1e-5)


def test_text_needs_an_output_for_each_character(text_model, tmp_path, monkeypatch, capsys):
    *layers, last = text_model.layers
    narrow = replace(last, weight=DenseMatrix(last.weight.to_dense()[:5]), bias=last.bias[:5])
    save(replace(text_model, layers=(*layers, narrow)), tmp_path / "model")
    (tmp_path / "in.txt").write_text("abc de")
    for arguments in (
        ("run", tmp_path / "model", "--prompt", "a", "--generate", 3),
        ("run", tmp_path / "model", tmp_path / "in.txt"),
        ("accuracy", tmp_path / "model", tmp_path / "in.txt"),
    ):
        status, _, error = call(monkeypatch, capsys, *arguments)
        assert status == 1
        assert "must have an output for each of its tokens, and this one has 5 for" in error
    output = tmp_path / "out.npy"
    call(monkeypatch, capsys, "run", tmp_path / "model", tmp_path / "in.txt", "--output", output)
    assert np.load(output).shape == (6, 5)


def test_characters_that_a_model_lacks_are_counted(text_dir, monkeypatch, capsys):
    for text, tail in (
        ("abc", "over 3 characters\n"),
        ("a§b§", "over 4 characters, 2 of them unknown\n"),
    ):
        _, out, _ = call(monkeypatch, capsys, "run", text_dir, "--prompt", text)
        assert out.endswith(tail)


def test_no_number_is_cut_in_narrow_terminals(text_dir, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    output = invoke("inspect", text_dir).output
    assert "…" not in output
