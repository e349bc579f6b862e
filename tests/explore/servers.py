"""Database servers of their own for tests, where their programs are installed."""

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import pytest


@contextlib.contextmanager
def postgresql():
    """The URL of an empty PostgreSQL database."""
    initdb = _program("initdb", "/usr/lib/postgresql/*/bin/initdb")
    pg_ctl = _program("pg_ctl", "/usr/lib/postgresql/*/bin/pg_ctl")
    with _place() as (place, run):
        data = f"--pgdata={place / 'data'}"
        run(initdb, data, "-A", "trust", "-U", "tester", "--no-sync")
        settings = f"-c listen_addresses='' -c unix_socket_directories='{place}' -c fsync=off"
        run(pg_ctl, data, "-w", "-l", str(place / "log"), "-o", settings, "start")
        try:
            yield f"postgresql+psycopg://tester@/postgres?host={place}"
        finally:
            run(pg_ctl, data, "-m", "immediate", "stop")


@contextlib.contextmanager
def mysql():
    """The URL of an empty database of MariaDB, which speaks MySQL's protocol."""
    install = _program("mariadb-install-db")
    server = _program("mariadbd", "/usr/sbin/mariadbd")
    client = _program("mariadb")
    with _place() as (place, run):
        data, socket = f"--datadir={place / 'data'}", f"--socket={place / 'socket'}"
        run(install, "--no-defaults", data, "--auth-root-authentication-method=normal")
        daemon = run.start(server, "--no-defaults", data, socket, "--skip-networking")
        try:
            ask = [client, "--no-defaults", socket, "--user=root", "--execute"]
            deadline = time.monotonic() + 60
            while run.fails(*ask, "CREATE DATABASE trials"):
                assert time.monotonic() < deadline, "the server does not answer"
                assert daemon.poll() is None, "the server has ended"
                time.sleep(0.2)
            yield f"mysql+pymysql://root@localhost/trials?unix_socket={place / 'socket'}"
        finally:
            daemon.terminate()
            daemon.wait(60)


def _program(name, *places):
    found = [path for pattern in places for path in sorted(Path("/").glob(pattern[1:]))]
    program = found[-1] if found else shutil.which(name)
    if program is None:
        pytest.skip(f"{name} is not installed")
    return str(program)


class _Run:
    """Runs programs as a user whom servers accept: they refuse root."""

    def __init__(self, place, user):
        self._options = {"cwd": place} if user is None else {"cwd": place, "user": user}

    def __call__(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._options)
        assert done.returncode == 0, done.stdout + done.stderr

    def fails(self, *command):
        return subprocess.run(command, capture_output=True, check=False, **self._options).returncode

    def start(self, *command):
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.Popen(command, **silent, **self._options)


@contextlib.contextmanager
def _place():
    """A directory whose path is short enough for sockets, and what runs programs in it."""
    user = "nobody" if os.getuid() == 0 else None
    place = Path(tempfile.mkdtemp(prefix="csbrnn-", dir="/tmp"))
    try:
        if user:
            shutil.chown(place, pwd.getpwnam(user).pw_uid)
        yield place, _Run(place, user)
    finally:
        shutil.rmtree(place, ignore_errors=True)
