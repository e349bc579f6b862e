"""An exploration small enough for tests, and a laboratory that trains nothing."""

import copy
import math

from csbrnn.explore.outcome import Cost, Outcome
from csbrnn.explore.recipe import read_recipe
from csbrnn.explore.space import DENSE
from search.recipes import TEXT, to_toml

__all__ = ["FakeLaboratory", "outcome_of", "recipe", "tables", "to_toml"]

_TRAINING = {"steps": 16, "learning_rate": 2e-2, "batch": 4, "seq_len": 16, "warmup": 4}

TABLES = {
    "name": "tiny",
    "task": {"name": "char-lm", "embedding_size": 8},
    "network": {"hidden_size": 16, "dropout": 0.0},
    "start": _TRAINING,
    "finish": _TRAINING,
    "method": {"method": {"name": "admm", "admm_steps": 8, "retrain_steps": 8, "interval": 4}},
    "space": {
        "cell": ["lstm", "gru"],
        "hidden_size": [8, 12, 16],
        "pattern": ["csb", "unstructured", "dense"],
        "block": ["4x4", "4x8", "8x8"],
        "pruning_rate": [2, 4],
        "precision": ["fp32", "int8"],
    },
    "bound": {"loss": 0.3},
    "explore": {"trials": 12},
}


def tables(tmp_path, **changes):
    """The tables, with others in place of some, and a text in a file."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    changed = copy.deepcopy(TABLES)
    changed["task"]["data"] = str(text)
    for table, values in changes.items():
        changed[table] = changed[table] | values if isinstance(values, dict) else values
    return changed


def recipe(tmp_path, **changes):
    """The same, read."""
    return read_recipe(tables(tmp_path, **changes))


def outcome_of(configuration):
    """Accuracy falls with rate and block and grows with size; costs the other way round."""
    block = 8 if "block=8x8" in configuration.pattern else 1
    rounding = 0.001 if configuration.precision == "int8" else 0.0
    dense = configuration.pattern == DENSE
    rate = configuration.pruning_rate
    metric = 3 - configuration.hidden_size / 16 + rounding + (0 if dense else 0.04 * rate * block)
    weights = 4 * configuration.hidden_size**2 / rate
    nbytes = int(weights * (1 if configuration.precision == "int8" else 4))
    return Outcome(metric, Cost(math.sqrt(weights), nbytes, machine="made up"))


class FakeLaboratory:
    """Stands in for `csbrnn.explore.trial.Laboratory`."""

    def __init__(self, recipe, directory, progress=None):
        self.recipe, self.directory = recipe, directory

    def run(self, configuration, check=None, *, bounded=True):
        with (self.directory / "began").open("a") as file:
            file.write(configuration.key + "\n")
        self.meanwhile(configuration, check, bounded)
        return outcome_of(configuration)

    def meanwhile(self, configuration, check, bounded):
        """What happens while it trains."""
