import json

import numpy as np
import pytest
from typer.testing import CliRunner

from csbrnn import cli
from csbrnn.commands.accuracy import measure_accuracy
from csbrnn.errors import ArgumentError
from csbrnn.model import load, quantize, save

TEXT = "abcdeT \n" * 20


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def test_a_text_in_bits_per_character(text_model, text, tmp_path):
    save(text_model, tmp_path / "model")
    found = tmp_path / "found.json"
    done = CliRunner().invoke(
        cli.app,
        ["accuracy", str(tmp_path / "model"), str(text), "--steps", "100", "--json", str(found)],
        env={"COLUMNS": "100"},
    )
    assert done.exit_code == 0, done.output
    data = json.loads(found.read_text())
    assert (data["sample_steps"], data["steps"]) == (20, 80)
    rows = data["precisions"]
    assert [(row["precision"], row["static"]) for row in rows] == [
        ("fp32", False),
        ("bf16", False),
        ("int8", False),
        ("int8", True),
    ]
    assert rows[0]["largest_error"] == 0
    assert rows[0]["nbytes"] > rows[1]["nbytes"] > rows[2]["nbytes"]
    exact, *others = (row["bits_per_char"] for row in rows)
    assert all(0 < abs(bits - exact) < 0.2 for bits in others)
    for part in ("bits/char", "int8, static", f"{exact:.4f}"):
        assert part in done.output


def test_features_and_what_is_kept(feature_model, tmp_path):
    xs = np.random.default_rng(0).normal(size=(30, 5))
    np.save(tmp_path / "xs.npy", xs)
    all_rounded = measure_accuracy(feature_model, tmp_path / "xs.npy", precisions=["int8"])
    none_rounded = measure_accuracy(
        feature_model, tmp_path / "xs.npy", precisions=["int8"], keep_fp32=["*"]
    )
    assert all_rounded.bits_per_char == ()
    assert all_rounded.costs[0].largest_error > 0
    assert none_rounded.costs[0].largest_error == 0


def test_refusals(text_model, feature_model, text):
    with pytest.raises(ArgumentError, match="must be in fp32 to be compared with, but is in int8"):
        measure_accuracy(quantize(text_model, "int8"), text)
    with pytest.raises(ArgumentError, match="carries no vocabulary"):
        measure_accuracy(feature_model, text)
    with pytest.raises(ArgumentError, match="must have 3 steps or more, has 2"):
        measure_accuracy(text_model, text, steps=2)
    with pytest.raises(ArgumentError, match="a precision must be one of"):
        measure_accuracy(text_model, text, precisions=["int4"])


def test_pack_rounds_on_request(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.save(torch.nn.LSTM(6, 8).state_dict(), tmp_path / "lstm.pt")
    for name, options in (
        ("whole", []),
        ("int8", ["--precision", "int8"]),
        ("kept", ["--precision", "int8", "--keep-fp32", "*"]),
    ):
        done = CliRunner().invoke(
            cli.app, ["pack", str(tmp_path / "lstm.pt"), "--out", str(tmp_path / name), *options]
        )
        assert done.exit_code == 0, done.output or done.exception
    assert load(tmp_path / "whole").precision == "fp32"
    assert load(tmp_path / "int8").precision == "int8"
    assert load(tmp_path / "kept").precision == "fp32"


def test_pack_calibrates_on_request(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    torch.save(torch.nn.LSTM(6, 8).state_dict(), tmp_path / "lstm.pt")
    np.save(tmp_path / "xs.npy", np.random.default_rng(0).normal(size=(20, 6)))

    def pack(*options):
        arguments = ["pack", str(tmp_path / "lstm.pt"), "--out", str(tmp_path / "model"), *options]
        return CliRunner().invoke(cli.app, [*arguments, "--calibrate", str(tmp_path / "xs.npy")])

    done = pack("--precision", "int8")
    assert done.exit_code == 0, done.output or done.exception
    model = load(tmp_path / "model")
    assert set(model.activation_scales) == set(model.products)
    with pytest.raises(ArgumentError, match="no matrix is in int8: add --precision int8"):
        raise pack().exception
