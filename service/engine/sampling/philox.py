"""Streams of random words, each named by what it is for: Philox4x64-10, re-keyed and re-counted.

A stream is a pure function of (seed, domain, candidate, redraw), so that a word can be asked for again, alone or among
millions, and no stream moves when another is made longer:

    key      (seed, domain)
    counter  (block, candidate, redraw, 0), block = 0, 1, … along the stream; four words each

It stands alone because labels, codes, latents and selection all draw from it and differ only in what they make of the
words. The words come from NumPy's bit generator, whose raw output is fixed by its algorithm; NumPy's distributions,
whose streams may change, are not used.

Shapes: N streams, W words.

References:
    Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3 (2011), section 3.3 and table 2.
"""

import threading
from enum import IntEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Seeds = NDArray[np.uint64]

_WORDS_PER_BLOCK = 4
_DROPPED_BITS = np.uint64(12)
_U_STEP = 2.0**-52
# Of a lone seed the counter's arithmetic would cost more than its words. Redraws beyond this are rare.
_REDRAWS_KEPT = 16


class Domain(IntEnum):
    """What a stream of words is for; the second half of Philox's key."""

    LATENT = 0
    LABEL = 1
    CODES = 2
    SELECTION = 3


class _Philox(threading.local):
    """One bit generator a thread: a new one for each stream would cost four times as much."""

    def __init__(self) -> None:
        self._philox = np.random.Philox(0)
        self._key = np.zeros(2, np.uint64)
        self._counter = np.zeros(_WORDS_PER_BLOCK, np.uint64)
        self._start = self._philox.state
        self._start["state"] = {"counter": self._counter, "key": self._key}

    def words(self, seeds: Seeds, domain: Domain, count: int, candidates: Seeds | None, redraw: int) -> Seeds:
        """As `uniforms`, before the words become numbers."""
        words = np.empty((len(seeds), count), np.uint64)
        philox, start, key, counter = self._philox, self._start, self._key, self._counter
        key[1] = domain
        if candidates is None:
            counter[:] = _first_counter(redraw)
            for row, seed in enumerate(seeds.tolist()):
                key[0] = seed
                philox.state = start
                words[row] = philox.random_raw(count)
            return words
        for row, (seed, before) in enumerate(zip(seeds.tolist(), _counters(candidates, redraw), strict=True)):
            key[0] = seed
            counter[:] = before
            philox.state = start
            words[row] = philox.random_raw(count)
        return words


_philox = _Philox()


def _counters(candidates: Seeds, redraw: int) -> Seeds:
    """[N, 4], the number before (0, candidate, redraw, 0): NumPy steps the counter before it makes a block."""
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


def uniforms(
    seeds: Seeds, domain: Domain, count: int, candidates: Seeds | None = None, redraw: int = 0
) -> NDArray[np.float64]:
    """The first numbers of some streams.

    Args:
        seeds: [N], each in 0 … 2⁶³ − 1.
        domain: what the numbers are for.
        count: W.
        candidates: [N], which candidate of its seed each stream is for; None is 0 for all.
        redraw: which drawing of it, in 0 … 2⁶⁴ − 1.

    Returns:
        [N, W] of ((w >> 12) + ½)·2⁻⁵²: odd multiples of 2⁻⁵³ and so exact, never 0 or 1.
    """
    words = _philox.words(seeds, domain, count, candidates, redraw)
    return ((words >> _DROPPED_BITS).astype(np.float64) + 0.5) * _U_STEP
