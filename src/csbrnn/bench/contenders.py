"""Everyone who competes, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from csbrnn.bench.contender import Contender
from csbrnn.bench.contender_csbrnn import CSBRNN
from csbrnn.bench.contender_onnxruntime import ONNXRUNTIME
from csbrnn.bench.contender_openvino import OPENVINO
from csbrnn.bench.contender_pytorch import PYTORCH, PYTORCH_COMPILED
from csbrnn.errors import ArgumentError

__all__ = ["CONTENDERS", "SLOW_TO_OPEN", "choose_contenders"]

CONTENDERS: Final[Mapping[str, tuple[Contender, ...]]] = {
    "csbrnn": CSBRNN,
    "pytorch": PYTORCH,
    "pytorch-compiled": PYTORCH_COMPILED,
    "onnxruntime": ONNXRUNTIME,
    "openvino": OPENVINO,
}
"""Name -> its variants. None imports a peer's package before it opens a case."""

SLOW_TO_OPEN: Final = ("pytorch-compiled",)
"""Names that compete only where asked for: compiling takes up to half a minute."""


def choose_contenders(chosen: Iterable[str | Contender] | None) -> tuple[Contender, ...]:
    """All variants of the names given, and contenders as they are; for None, who is quick to open.

    Raises:
        ArgumentError: A name is not in `CONTENDERS`.
    """
    found: list[Contender] = []
    everyone = [name for name in CONTENDERS if name not in SLOW_TO_OPEN]
    for choice in everyone if chosen is None else chosen:
        if isinstance(choice, Contender):
            found.append(choice)
        elif choice in CONTENDERS:
            found.extend(CONTENDERS[choice])
        else:
            raise ArgumentError(
                f"a contender must be one of {', '.join(CONTENDERS)}, not {choice!r}"
            )
    return tuple(found)
