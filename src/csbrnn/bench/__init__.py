"""Latency against peers: one runner that checks each result before it times it.

`cases` are what is run, `contenders` who competes (one ``contender_*`` file each), `timing` how
calls are timed fairly, `roofline` what the machine could do at best, `environment` which machine it
is, `result` what is found, and `report` shows it.
"""

from csbrnn.bench.cases import CASES, Case, generate
from csbrnn.bench.contender import TOLERANCES, Contender, Prepared, UnavailableError
from csbrnn.bench.contenders import CONTENDERS
from csbrnn.bench.layouts import Layout, parse_layout
from csbrnn.bench.environment import describe_environment
from csbrnn.bench.result import Bandwidth, BenchResult, Row, Skipped
from csbrnn.bench.runner import MODES, run_bench

__all__ = [
    "CASES",
    "CONTENDERS",
    "MODES",
    "TOLERANCES",
    "Bandwidth",
    "BenchResult",
    "Case",
    "Contender",
    "Prepared",
    "Row",
    "Skipped",
    "UnavailableError",
    "describe_environment",
    "generate",
    "parse_layout",
    "run_bench",
]
