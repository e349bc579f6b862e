import numpy as np
import pytest

from csbrnn.errors import ArgumentError
from csbrnn.nn import pack
from csbrnn.runtime import compile as compile_model
from csbrnn.tasks.labelled_arrays import LabelledArrays
from csbrnn.tasks.task import Network
from csbrnn.tasks.training import Training


def write(folder, **changes):
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 60), ("test", 30)):
        y = rng.integers(0, 3, count)
        arrays[f"{part}_y"] = y
        arrays[f"{part}_x"] = rng.normal(size=(count, 6, 4)) + 2 * y[:, None, None]
    for name, array in (arrays | changes).items():
        np.save(folder / f"{name}.npy", array)
    return LabelledArrays(data=str(folder))


def test_classes_are_learned(tmp_path):
    task = write(tmp_path)
    model = task.build(Network(hidden_size=8))
    training = Training(steps=60, learning_rate=2e-2, warmup=5, batch=16)
    task.train(model, training, checkpoint=tmp_path / "c.pt")
    score = task.evaluate(model)
    assert score.value > 0.9
    engine = compile_model(pack(model, metadata=task.metadata()))
    assert task.evaluate_engine(engine) == score
    assert engine(task.sample_input())[0].shape == (6, 3)


def test_the_fingerprint_follows_the_values(tmp_path):
    first = write(tmp_path).fingerprint()
    assert write(tmp_path).fingerprint() == first
    assert write(tmp_path, test_y=np.zeros(30, int)).fingerprint() != first


def test_arrays_that_do_not_fit_are_refused_with_all_reasons(tmp_path):
    task = write(tmp_path, train_x=np.zeros((60, 4)), test_y=np.zeros(29, int))
    with pytest.raises(ArgumentError) as caught:
        _ = task.arrays
    assert "train_x must have shape (sequences, seq_len, features)" in str(caught.value)
    assert "test_y must have one class for each of test_x's 30" in str(caught.value)
    with pytest.raises(ArgumentError, match="must hold whole numbers from 0 on"):
        _ = write(tmp_path, train_y=np.zeros(60)).arrays
    with pytest.raises(ArgumentError, match="must have the same features, not 4 and 5"):
        _ = write(tmp_path, test_x=np.zeros((30, 6, 5))).arrays
    (tmp_path / "test_x.npy").unlink()
    with pytest.raises(ArgumentError, match=r"test_x\.npy: can't be read"):
        _ = LabelledArrays(data=str(tmp_path)).arrays


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_x": np.full((60, 6, 4), np.nan)}, "train_x must hold finite numbers"),
        ({"test_x": np.full((30, 6, 4), np.inf)}, "test_x must hold finite numbers"),
        ({"test_x": np.zeros((30, 6, 4), complex)}, "test_x must hold finite numbers"),
        ({"train_x": np.zeros((60, 6, 4), "U3")}, "train_x must hold finite numbers"),
        ({"train_x": np.float64(3)}, r"train_x must have shape .* not \(\)"),
        ({"train_y": np.full(60, 10**10)}, "train_y must hold classes below 1,000,000"),
    ],
)
def test_values_that_can_not_be_learned_are_refused(tmp_path, changes, message):
    with pytest.raises(ArgumentError, match=message):
        _ = write(tmp_path, **changes).arrays


def test_an_archive_is_no_array(tmp_path):
    write(tmp_path)
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    (tmp_path / "x.npz").rename(tmp_path / "train_x.npy")
    with pytest.raises(ArgumentError, match=r"train_x\.npy: must be a \.npy array, not an \.npz"):
        _ = LabelledArrays(data=str(tmp_path)).arrays
