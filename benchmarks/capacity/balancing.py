"""Which replica takes a request: pure policies, for the simulation and for the real load generator.

A policy sees how many requests it sent to each replica and has no answer to; another balancer's requests it does not
see.

References:
    Mitzenmacher, The power of two choices in randomized load balancing (2001).
"""

import random
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Final

# From the requests that each replica has of this balancer to the place of the chosen one.
Choose = Callable[[Sequence[int]], int]


def at_random(chance: random.Random) -> Choose:
    """Each replica with the same probability."""
    return lambda outstanding: chance.randrange(len(outstanding))


def round_robin(chance: random.Random) -> Choose:
    """In turn, from a random one on, so that several balancers do not move in step."""
    turns = count(chance.getrandbits(16))
    return lambda outstanding: next(turns) % len(outstanding)


def two_choices(chance: random.Random) -> Choose:
    """Of two different replicas, drawn at random, the one with fewer requests; of one replica that one."""

    def choose(outstanding: Sequence[int]) -> int:
        if len(outstanding) == 1:
            return 0
        first, second = chance.randrange(len(outstanding)), chance.randrange(len(outstanding) - 1)
        second += second >= first
        return second if outstanding[second] < outstanding[first] else first

    return choose


def least_outstanding(chance: random.Random) -> Choose:
    """The replica with the fewest requests; of several the next after a random place."""

    def choose(outstanding: Sequence[int]) -> int:
        least = min(outstanding)
        try:
            return outstanding.index(least, chance.randrange(len(outstanding)))
        except ValueError:  # all of them are before it
            return outstanding.index(least)

    return choose


POLICIES: Final[Mapping[str, Callable[[random.Random], Choose]]] = {
    "random": at_random,
    "round robin": round_robin,
    "two choices": two_choices,
    "least outstanding": least_outstanding,
}
