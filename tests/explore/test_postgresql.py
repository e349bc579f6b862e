"""The same promises on a server, where one can be had: PostgreSQL, started for these tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")
pytest.importorskip("psycopg", reason="psycopg is not installed")

from csbrnn.explore import worker

from .models import FakeLaboratory
from .test_worker import check_that_workers_share, pytestmark  # noqa: F401 - filters warnings


@pytest.fixture(scope="module")
def server():
    """The URL of an empty database, on a socket in a directory of its own."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    programs = found[-1].parent if found else Path(on_path).parent if on_path else None
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed")
    user = pwd.getpwuid(os.getuid()).pw_name
    if os.getuid() == 0:  # the server refuses to run as root
        user = "nobody"
    # Not in tmp_path: a socket's path must be short, and the directory open to that user.
    place = Path(tempfile.mkdtemp(prefix="csbrnn-pg-", dir="/tmp"))
    if os.getuid() == 0:
        shutil.chown(place, user)
    options = {"user": user, "cwd": place} if os.getuid() == 0 else {"cwd": place}

    def run(name, *arguments):
        command = [str(programs / name), "-D", str(place / "data"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
        assert done.returncode == 0, done.stdout + done.stderr

    run("initdb", "-A", "trust", "-U", "tester", "--no-sync")
    settings = f"-c listen_addresses='' -c unix_socket_directories='{place}' -c fsync=off"
    run("pg_ctl", "-w", "-l", str(place / "log"), "-o", settings, "start")
    try:
        yield f"postgresql+psycopg://tester@/postgres?host={place}"
    finally:
        run("pg_ctl", "-m", "immediate", "stop")
        shutil.rmtree(place, ignore_errors=True)


def test_two_processes_share_a_server(tmp_path, monkeypatch, server):
    monkeypatch.setattr(worker, "Laboratory", FakeLaboratory)
    check_that_workers_share(tmp_path, monkeypatch, server)
