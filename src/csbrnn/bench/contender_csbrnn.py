"""x."""

from typing import Final

from csbrnn.bench.contender import Contender

CSBRNN: Final[tuple[Contender, ...]] = ()
