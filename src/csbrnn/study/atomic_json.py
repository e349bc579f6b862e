"""`write_atomically`: JSON that a kill leaves as it was or as it will be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["write_atomically"]


def write_atomically(path: Path, data: dict[str, Any]) -> None:
    """Writes JSON so that a kill leaves the old file or the new one, never half."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
