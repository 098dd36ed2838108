"""Streams of random words from Philox4x64-10, a counter-based generator.

A stream is a pure function of (seed, domain, candidate, redraw), so any word can be computed again, alone or among
millions, and no stream shifts when another one gets longer:

    key      (seed, domain)
    counter  (block, candidate, redraw, 0), block = 0, 1, … along the stream; four words each

The words come from NumPy's bit generator, whose raw output its algorithm fixes; NumPy's distributions, whose streams
may change between versions, are not used.

Shapes: N streams, W words.

References:
    Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011), section 3.3 and table 2.
"""

from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Seeds = NDArray[np.uint64]

_WORDS_PER_BLOCK = 4
_DROPPED_BITS = np.uint64(12)
_U_STEP = 2.0**-52
# Computing the counter costs more than the words of one seed. Redraws beyond this are rare.
_REDRAWS_KEPT = 16


class Domain(IntEnum):
    """What a stream of words is for; the second half of Philox's key."""

    LATENT = 0
    LABEL = 1
    CODES = 2
    SELECTION = 3


class _Generator:
    """A bit generator whose state is set for each stream: constructing one per stream costs four times as much."""

    __slots__ = ("counter", "key", "philox", "state")

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.key = np.zeros(2, np.uint64)
        self.counter = np.zeros(_WORDS_PER_BLOCK, np.uint64)
        self.state = self.philox.state
        self.state["state"] = {"counter": self.counter, "key": self.key}


# Generators that are not in use. `pop` and `append` are atomic, so no two threads share one.
_idle: list[_Generator] = []


def uniforms(
    seeds: Seeds, domain: Domain, count: int, candidates: Seeds | None = None, redraw: int = 0
) -> NDArray[np.float64]:
    """The first numbers of some streams, uniform in (0, 1).

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        count: W.
        candidates: [N], which candidate of its seed each stream is for; None means 0 for all.
        redraw: which drawing of the candidate, in 0 … 2⁶⁴ − 1.

    Returns:
        [N, W] of ((w >> 12) + ½)·2⁻⁵²: odd multiples of 2⁻⁵³ and so exact, never 0 or 1.
    """
    try:
        generator = _idle.pop()
    except IndexError:
        generator = _Generator()
    philox, state, key, counter = generator.philox, generator.state, generator.key, generator.counter
    words = np.empty((len(seeds), count), np.uint64)
    key[1] = domain
    if candidates is None:
        counter[:] = _first_counter(redraw)
        for row, seed in enumerate(seeds.tolist()):
            key[0] = seed
            philox.state = state
            words[row] = philox.random_raw(count)
    else:
        for row, (seed, start) in enumerate(zip(seeds.tolist(), _counters(candidates, redraw), strict=True)):
            key[0] = seed
            counter[:] = start
            philox.state = state
            words[row] = philox.random_raw(count)
    _idle.append(generator)
    return ((words >> _DROPPED_BITS).astype(np.float64) + 0.5) * _U_STEP


def _counters(candidates: Seeds, redraw: int) -> Seeds:
    """[N, 4], the number before (0, candidate, redraw, 0): NumPy increments the counter before it makes a block."""
    counters = np.zeros((len(candidates), _WORDS_PER_BLOCK), np.uint64)
    counters[:, 1], counters[:, 2] = candidates, redraw
    borrows = np.ones(len(candidates), bool)
    for word in counters.T:
        is_zero = word == 0
        word[borrows] -= np.uint64(1)  # from 0 to the largest word: it borrows from the next
        borrows &= is_zero
    return counters


@lru_cache(maxsize=_REDRAWS_KEPT)
def _first_counter(redraw: int) -> Seeds:
    """[4], of candidate 0."""
    return _counters(np.zeros(1, np.uint64), redraw).reshape(_WORDS_PER_BLOCK)
