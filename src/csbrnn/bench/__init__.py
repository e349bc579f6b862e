"""Latency against peers: one runner that checks each result before it times it.

`cases` (in `layouts`) are what is run, `contenders` who competes (one ``contender_*`` file each;
`onnx_step` and `torch_network` write models for peers, `matvec` takes our products apart, and
`product_time` is what one costs, for `csbrnn.pruning.choose_blocks`), `checks`
whether they are right, `timing` how calls are timed fairly, `roofline` what the machine could do at
best, `environment` which machine it is, `result` what is found; `report` and `goals` show it.
"""

from csbrnn.bench.cases import CASES, DEFAULT_LAYOUT, Case, generate
from csbrnn.bench.contender import Contender, Prepared, UnavailableError, WrongResultsError
from csbrnn.bench.contender_csbrnn import csbrnn_contenders, supported_precisions
from csbrnn.bench.contenders import CONTENDERS, SLOW_TO_OPEN
from csbrnn.bench.environment import describe_environment
from csbrnn.bench.layouts import Layout, parse_layout
from csbrnn.bench.result import Bandwidth, BenchResult, Row, Skipped
from csbrnn.bench.runner import MODES, run_bench

__all__ = [
    "CASES",
    "CONTENDERS",
    "DEFAULT_LAYOUT",
    "MODES",
    "SLOW_TO_OPEN",
    "Bandwidth",
    "BenchResult",
    "Case",
    "Contender",
    "Layout",
    "Prepared",
    "Row",
    "Skipped",
    "UnavailableError",
    "WrongResultsError",
    "csbrnn_contenders",
    "describe_environment",
    "generate",
    "parse_layout",
    "run_bench",
    "supported_precisions",
]
