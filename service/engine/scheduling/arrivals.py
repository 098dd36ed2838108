"""What a key will bring in the next seconds: as much as was let in of it in the last ones.

    admitted, by size ──▶ samples a second, over the last second and over the last ten ──▶ × the seconds to come

A request that arrives later can be served earlier, where it is smaller or its key has a larger share. Admission that
counted only what waits would let in requests that those overtake, compute a part of each, and drop the rest as late.
"""

import math
from typing import Final

# Over which a rate is averaged, exponentially: the shorter one follows a change of the load soon; the longer one, for
# distant deadlines, does not take a burst for a load.
SHORT_S: Final = 1.0
LONG_S: Final = 10.0
# A rate is extrapolated over at most so many times what it was averaged over.
REACH: Final = 3.0


class Rate:
    """Samples a second."""

    __slots__ = ("_at", "_long_per_s", "_short_per_s")

    def __init__(self) -> None:
        self._at = self._short_per_s = self._long_per_s = 0.0

    def add(self, samples: int, now: float) -> None:
        """Count samples that arrive now, a time in seconds."""
        since_s = self._at - now
        self._short_per_s = self._short_per_s * math.exp(since_s / SHORT_S) + samples / SHORT_S
        self._long_per_s = self._long_per_s * math.exp(since_s / LONG_S) + samples / LONG_S
        self._at = now

    def expected(self, within_s: float, now: float) -> float:
        """Samples that will arrive in so many seconds from now on."""
        if within_s <= 0:
            return 0.0
        if within_s <= REACH * SHORT_S:
            return self._short_per_s * math.exp((self._at - now) / SHORT_S) * within_s
        return self._long_per_s * math.exp((self._at - now) / LONG_S) * min(within_s, REACH * LONG_S)


class Arrivals:
    """What is admitted of one key; refused requests overtake none."""

    __slots__ = ("_by_size", "_total")

    def __init__(self) -> None:
        self._total = Rate()
        self._by_size: list[Rate] = []  # of 2^i to 2^(i + 1) − 1 samples a request

    def add(self, samples: int, now: float) -> None:
        """Count a request of so many samples, at least 1."""
        self._total.add(samples, now)
        while len(self._by_size) < samples.bit_length():
            self._by_size.append(Rate())
        self._by_size[samples.bit_length() - 1].add(samples, now)

    def expected(self, within_s: float, now: float) -> int:
        """As `Rate.expected`, in whole samples."""
        return int(self._total.expected(within_s, now))

    def expected_smaller(self, samples: int, within_s: float, now: float) -> int:
        """As `expected`, of requests that are smaller than one of so many samples, by the power of two."""
        return int(sum([rate.expected(within_s, now) for rate in self._by_size[: samples.bit_length() - 1]]))
