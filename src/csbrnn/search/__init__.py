"""The lossless search: how far a network can be pruned before its accuracy suffers.

`rates` decides which rate comes next, `criterion` what counts as lossless, `journal` keeps results
over kills; `lossless` puts them together for any training function, `result` is what it returns.
`recipe` reads a search on a task from a file, and `task_search` runs it; these need PyTorch and are
imported by their users.
"""

from csbrnn.search.criterion import Criterion, Verdict
from csbrnn.search.lossless import Budget, Run, search
from csbrnn.search.rates import Ladder, RateSearch
from csbrnn.search.result import RateTrial, SearchResult

__all__ = [
    "Budget",
    "Criterion",
    "Ladder",
    "RateSearch",
    "RateTrial",
    "Run",
    "SearchResult",
    "Verdict",
    "search",
]
