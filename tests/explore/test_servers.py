"""The same promises on servers, where these can be had: PostgreSQL and MariaDB."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("optuna")

from csbrnn.explore import worker

from . import servers
from .models import FakeLaboratory
from .test_worker import check_that_workers_share, pytestmark  # noqa: F401 - filters warnings


@pytest.mark.parametrize(
    ("driver", "server"), [("psycopg", servers.postgresql), ("pymysql", servers.mysql)]
)
def test_two_processes_share_a_server(tmp_path, monkeypatch, driver, server):
    pytest.importorskip(driver, reason=f"{driver} is not installed")
    monkeypatch.setattr(worker, "Laboratory", FakeLaboratory)
    with server() as url:
        check_that_workers_share(tmp_path, monkeypatch, url)
