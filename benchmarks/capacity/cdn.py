"""How much of the traffic a cache in front answers: samples by URL never change, so a cache never has to ask again.

    requests by popularity (Zipf) ─▶ caches, each full of what was asked last (LRU) ─misses─▶ replicas

The popularity of a catalogue of any size is kept in bins of ranks, exact for the first thousand.

References:
    Breslau and others, Web caching and Zipf-like distributions (1999).
    Che, Tung and Wang, Hierarchical web caching systems (2002): the approximation of an LRU cache.
    Fricker, Robert and Roberts, A versatile and accurate approximation for LRU cache performance (2012): why.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

EXACT_RANKS: Final = 1000
# Between the edges of two bins of ranks: the popularity in a bin differs by as much at most, raised to the exponent.
BIN_RATIO: Final = 1.005
# Halvings of the interval of a characteristic time, on a logarithmic scale.
HALVINGS: Final = 100


@dataclass(frozen=True)
class Catalogue:
    """Samples that callers ask for again and again.

    Attributes:
        objects: how many different ones.
        exponent: s of Zipf's law, popularity ∝ rank^(−s); 0 makes all equally popular.
    """

    objects: int
    exponent: float

    def __post_init__(self) -> None:
        if self.objects < 1 or self.exponent < 0:
            raise ValueError(f"{self} is no catalogue: it has at least one object, and an exponent of 0 or more")

    @cached_property
    def bins(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Number of objects in each bin, and the probability of each object of it."""
        exact = min(self.objects, EXACT_RANKS)
        further = max(0, int(np.ceil(np.log(self.objects / exact) / np.log(BIN_RATIO))))
        edges = np.floor(exact * BIN_RATIO ** np.arange(further + 1))
        edges = np.unique(np.append(np.clip(edges, exact, self.objects), self.objects))
        firsts = np.concatenate([np.arange(1, exact + 1), edges[:-1] + 1])
        lasts = np.concatenate([np.arange(1, exact + 1), edges[1:]])
        weights = np.sqrt(firsts * lasts) ** -self.exponent
        counts = lasts - firsts + 1
        return counts, weights / float(counts @ weights)

    def draw(self, requests: int, seed: int) -> NDArray[np.int64]:
        """Ranks of independent requests, from 0; for catalogues that fit in memory."""
        weights = np.arange(1, self.objects + 1, dtype=np.float64) ** -self.exponent
        return np.searchsorted(np.cumsum(weights) / weights.sum(), np.random.default_rng(seed).random(requests))


def lru_hit_rate(catalogue: Catalogue, held: int) -> float:
    """Share of requests that a cache answers, once it is full.

    An object is there where it was asked for within the characteristic time, in requests: the time in which as many
    different objects are asked for as the cache holds.

    Args:
        catalogue: what is asked for, independently of what was asked before.
        held: objects that fit in the cache.
    """
    if held >= catalogue.objects:
        return 1.0
    counts, popularity = catalogue.bins
    low, high = 0.0, np.log(catalogue.objects) + np.log(1 / popularity[-1])
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if counts @ -np.expm1(-popularity * np.exp(middle)) < held:
            low = middle
        else:
            high = middle
    return float((counts * popularity) @ -np.expm1(-popularity * np.exp(low)))


def edges_hit_rate(catalogue: Catalogue, held: int, edges: int, *, hashed: bool) -> float:
    """Share of requests that several caches answer, each of which holds so many objects.

    Args:
        catalogue: what is asked for at every edge alike.
        held: objects that fit in each cache.
        edges: caches.
        hashed: whether an object belongs to one edge, by a consistent hash of its URL, and is asked for there alone;
            else any edge is asked for it, and popular objects are in all of them.
    """
    return lru_hit_rate(catalogue, held * edges if hashed else held)


def lru_simulated(asked: NDArray[np.int64], held: int) -> float:
    """Share of requests that a cache answers; of the second half, when it is full."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for number, each in enumerate(asked.tolist()):
        if each in cache:
            cache.move_to_end(each)
            hits += number >= len(asked) // 2
            continue
        cache[each] = None
        if len(cache) > held:
            cache.popitem(last=False)
    return hits / (len(asked) - len(asked) // 2)
