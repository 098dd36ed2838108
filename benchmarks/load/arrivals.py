"""Arrival processes of open loops: when requests come, independent of the server's responses.

    Poisson    requests of many independent callers
    bursty     a Markov-modulated Poisson process of two states: a high rate in bursts, a low one between them

References:
    Fischer and Meier-Hellstern, The Markov-modulated Poisson process (MMPP) cookbook (1993).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True, kw_only=True)
class Bursts:
    """When the rate is high, and how high.

    Attributes:
        ratio: rate in a burst, of the mean rate; above 1, and at most 1 / `share`; then nothing comes between them.
        share: of the time that is in bursts, in (0, 1).
        mean_s: mean length of a burst; lengths are exponential, as those of the time between bursts are.
    """

    ratio: float = 3.0
    share: float = 0.2
    mean_s: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.share < 1 < self.ratio <= 1 / self.share) or self.mean_s <= 0:
            raise ValueError(f"{self} leaves no rate between bursts; lower the ratio or the share")


def poisson(rate_per_s: float, chance: random.Random) -> Iterator[float]:
    """Arrival times of a Poisson process, in seconds from the start, without end."""
    now = 0.0
    while True:
        now += chance.expovariate(rate_per_s)
        yield now


def bursty(rate_per_s: float, bursts: Bursts, chance: random.Random) -> Iterator[float]:
    """Arrival times of a bursty process with this mean rate, in seconds from the start, without end.

    The first state is drawn by the states' shares of the time, so that the process is stationary from the start.
    """
    between = rate_per_s * (1 - bursts.ratio * bursts.share) / (1 - bursts.share)
    rates = {True: rate_per_s * bursts.ratio, False: between}
    lengths = {True: bursts.mean_s, False: bursts.mean_s * (1 - bursts.share) / bursts.share}
    now, in_burst = 0.0, chance.random() < bursts.share
    while True:
        ends = now + chance.expovariate(1 / lengths[in_burst])
        if rates[in_burst] > 0:
            while (now := now + chance.expovariate(rates[in_burst])) < ends:
                yield now
        now, in_burst = ends, not in_burst


def until(times: Iterator[float], duration_s: float) -> list[float]:
    """Those of ascending times that come before the end."""
    return list(takewhile(lambda at: at < duration_s, times))
