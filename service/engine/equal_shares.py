"""The ideal server: it gives every waiting request an equal share at every instant, and says when each would be done.

No real server can do that, which runs whole samples in batches; but the order in which the ideal one finishes is the
fair order for it. It stands alone because it is an idea of its own, with one clock: how many samples each request that
waits has been given so far. It knows neither tickets nor batches.

References:
    Demers, Keshav and Shenker, Analysis and simulation of a fair queueing algorithm (1989), section 2: ideal finish.
"""

import bisect


class EqualShares:
    """The ideal server. Its time is how many samples each request that waits has been given so far."""

    def __init__(self) -> None:
        self._time = 0.0
        self._finishes: list[float] = []  # ascending

    def finish_of(self, samples: int) -> float:
        """The ideal finish of a request that would arrive now."""
        return self._time + samples

    def arrive(self, samples: int) -> float:
        """Note a request; returns its ideal finish."""
        finish = self.finish_of(samples)
        bisect.insort(self._finishes, finish)
        return finish

    def leave(self, finish: float) -> None:
        """Forget a request that will not be finished, unless the ideal server has finished it already."""
        place = bisect.bisect_left(self._finishes, finish)
        if self._finishes[place : place + 1] == [finish]:
            del self._finishes[place]

    def serve(self, samples: int) -> None:
        """Share `samples` out equally."""
        left = float(samples)
        while self._finishes:
            until_the_next_finish = (self._finishes[0] - self._time) * len(self._finishes)
            if left < until_the_next_finish:
                self._time += left / len(self._finishes)
                return
            self._time = self._finishes.pop(0)
            left -= until_the_next_finish
