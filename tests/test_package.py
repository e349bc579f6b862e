"""What importing csbrnn brings, and costs."""

import subprocess
import sys

import pytest

import csbrnn
from csbrnn import errors


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_every_public_name_is_there():
    for name in csbrnn.__all__:
        assert getattr(csbrnn, name) is not None
    assert set(csbrnn.__all__) <= set(dir(csbrnn))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = csbrnn.nothing


def test_importing_brings_no_torch_and_no_command_line():
    code = (
        "import sys, csbrnn; csbrnn.load, csbrnn.compile, csbrnn.Cell;"
        "print([m for m in ('torch', 'onnx', 'typer', 'rich') if m in sys.modules])"
    )
    assert python(code).stdout.strip() == "[]"


def test_training_names_say_what_to_install_when_torch_is_missing():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import csbrnn\n"
        "try: csbrnn.prune_\n"
        "except csbrnn.MissingDependencyError as error: print(error)"
    )
    assert "pip install 'csbrnn[train]'" in python(code).stdout


def test_the_error_tree_is_as_drawn():
    for name in errors.__all__:
        cls = getattr(errors, name)
        assert issubclass(cls, errors.CsbrnnError | errors.CsbrnnWarning)
        assert name in errors.__doc__
    error = errors.UnsupportedModelError("can't pack Net", ["a: x", "b: y"])
    assert str(error) == "can't pack Net:\n  - a: x\n  - b: y"
    assert error.reasons == ("a: x", "b: y")
