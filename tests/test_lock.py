"""One process at a time."""

import subprocess
import sys

import pytest

from csbrnn.errors import ArgumentError
from csbrnn.lock import locked

HOLDER = """
import sys
from pathlib import Path
from csbrnn.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_is_refused_while_held_and_free_after_a_kill(tmp_path):
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        refused = pytest.raises(ArgumentError, match="somebody is here")
        with refused, locked(path, busy="somebody is here"):
            raise AssertionError
        holder.kill()
    with locked(path, busy="somebody is here"):
        pass
    with locked(path):
        pass


def test_a_lock_that_can_not_be_made(tmp_path):
    refused = pytest.raises(ArgumentError, match="lock: can't be written: No such file")
    with refused, locked(tmp_path / "nowhere" / "lock"):
        raise AssertionError
