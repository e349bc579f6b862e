import shutil

import pytest

from csbrnn.errors import FormatError
from csbrnn.model import load

from .attacks import ATTACKS, DIRECTORY_ATTACKS, parts_of, write


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    directory = tmp_path_factory.mktemp("attacks") / "model"
    parts_of(directory)
    return directory


@pytest.fixture
def model(good, tmp_path):
    return shutil.copytree(good, tmp_path / "model")


def test_the_parts_put_together_are_good(model, tmp_path):
    write(parts_of(tmp_path / "parts"), model)
    assert load(model).output_size == 7


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(model, tmp_path, name):
    refusal, attack = ATTACKS[name]
    parts = parts_of(tmp_path / "parts")
    attack(parts)
    write(parts, model)
    with pytest.raises(FormatError, match=refusal) as caught:
        load(model)
    assert str(caught.value).startswith(str(model))


@pytest.mark.parametrize("name", DIRECTORY_ATTACKS)
def test_attack_on_the_directory(model, name):
    refusal, attack = DIRECTORY_ATTACKS[name]
    attack(model)
    with pytest.raises(FormatError, match=refusal):
        load(model)
