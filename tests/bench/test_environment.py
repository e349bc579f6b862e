import json

import numpy as np

from csbrnn.bench import describe_environment
from csbrnn.bench.environment import last_level_cache_nbytes, usable_cpus


def test_everything_is_json():
    environment = json.loads(json.dumps(describe_environment()))

    assert environment["packages"]["numpy"] == np.__version__
    assert environment["cpus_usable"] >= 1
    assert {"cpu", "caches", "isa", "os", "python", "compiler", "git_commit"} <= environment.keys()


def test_thread_settings_are_recorded(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("UNRELATED_SECRET", "x")

    variables = describe_environment()["variables"]
    assert variables["OMP_NUM_THREADS"] == "3"
    assert "UNRELATED_SECRET" not in variables


def test_missing_programs_are_none(monkeypatch):
    monkeypatch.setenv("PATH", "")

    environment = describe_environment()
    assert environment["compiler"] is None
    assert environment["git_commit"] is None


def test_sizes_are_plausible():
    assert 1 <= usable_cpus() < 10_000
    assert 1 << 18 <= last_level_cache_nbytes() <= 1 << 33
