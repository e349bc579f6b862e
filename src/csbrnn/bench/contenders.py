"""Everyone who competes, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from csbrnn.bench.contender import Contender
from csbrnn.bench.contender_csbrnn import CSBRNN
from csbrnn.bench.contender_onnxruntime import ONNXRUNTIME
from csbrnn.bench.contender_pytorch import PYTORCH
from csbrnn.errors import ArgumentError

__all__ = ["CONTENDERS", "choose_contenders"]

CONTENDERS: Final[Mapping[str, tuple[Contender, ...]]] = {
    "csbrnn": CSBRNN,
    "pytorch": PYTORCH,
    "onnxruntime": ONNXRUNTIME,
}
"""Name -> its variants. None imports a peer's package before it opens a case."""


def choose_contenders(chosen: Iterable[str | Contender] | None) -> tuple[Contender, ...]:
    """All variants of the names given, and contenders as they are; everyone for None.

    Raises:
        ArgumentError: A name is not in `CONTENDERS`.
    """
    found: list[Contender] = []
    for choice in CONTENDERS if chosen is None else chosen:
        if isinstance(choice, Contender):
            found.append(choice)
        elif choice in CONTENDERS:
            found.extend(CONTENDERS[choice])
        else:
            raise ArgumentError(
                f"a contender must be one of {', '.join(CONTENDERS)}, not {choice!r}"
            )
    return tuple(found)
