"""`Roofline`: how fast this machine reads weights, and so how fast a step can be at best."""

from __future__ import annotations

from dataclasses import dataclass, field

from csbrnn.bench.environment import last_level_cache_nbytes
from csbrnn.bench.result import Bandwidth
from csbrnn.errors import MissingDependencyError
from csbrnn.runtime import read_bandwidth

__all__ = ["Roofline"]


@dataclass
class Roofline:
    """Read bandwidths of this machine, measured when first asked for.

    Attributes:
        measured: Everything measured so far.
    """

    measured: list[Bandwidth] = field(default_factory=list)

    def bandwidth(self, nbytes: int, threads: int, cold: bool = False) -> Bandwidth | None:
        """Bandwidth of reading ``nbytes`` again and again, or from memory if ``cold``.

        Each thread reads its own part, as weights are split. Sizes within a tenth of one measured
        before share its result.

        Returns:
            None if the C library has not been built.
        """
        if cold:  # too large for any cache
            nbytes = max(nbytes, 4 * last_level_cache_nbytes())
        for known in self.measured:
            if (known.threads, known.cold) == (threads, cold) and (
                0.9 * nbytes <= known.nbytes <= 1.1 * nbytes
            ):
                return known
        part = max(nbytes // threads, 512)
        try:
            rate = read_bandwidth(part, threads=threads)
        except MissingDependencyError:
            return None
        self.measured.append(Bandwidth(threads, part * threads, rate / 1e9, cold))
        return self.measured[-1]
