"""A search small enough for tests: seconds, on a text that is made up here."""

import copy

TEXT = "the quick brown fox jumps over the lazy dog; " * 60

_TRAINING = {"steps": 24, "learning_rate": 2e-2, "batch": 4, "seq_len": 16, "warmup": 4}

SEARCH = {
    "pattern": "csb(block=4x8,row_group=4)",
    "task": {"name": "char-lm", "embedding_size": 8},
    "network": {"hidden_size": 16, "dropout": 0.0},
    "start": _TRAINING,
    "finish": _TRAINING,
    "method": {
        "method": {"name": "admm", "admm_steps": 12, "retrain_steps": 12, "interval": 4},
        "distill": {"weight": 0.5},
        "training": {"learning_rate": 3e-2},
    },
    "search": {"first_rate": 2, "step": 2, "seeds": [0, 1], "tolerance": 0.4, "max_rate": 6},
}


def recipe(tmp_path, **changes):
    """The tables, with others in place of some, and the text in a file."""
    text = tmp_path / "text.txt"
    text.write_text(TEXT)
    tables = copy.deepcopy(SEARCH)
    tables["task"]["data"] = str(text)
    for table, values in changes.items():
        tables[table] = tables[table] | values if isinstance(values, dict) else values
    return tables


def to_toml(tables):
    """Enough of TOML for these tables."""
    lines = [f"{key} = {_value(value)}" for key, value in tables.items() if type(value) is not dict]
    for key, table in tables.items():
        if type(table) is dict:
            lines += ["", f"[{key}]", *(f"{name} = {_value(v)}" for name, v in table.items())]
    return "\n".join(lines) + "\n"


def _value(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else repr(value)
