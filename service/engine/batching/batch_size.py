"""How many samples the next run takes, and on how many cores: pure arithmetic on what runs cost here.

    waiting │ free workers │ nothing else runs        chosen
    ────────┼────────────┼──────────────────        ───────────────────────────────────────────────
       1    │     2      │       yes                 all_cores: both cores on one sample, the shortest wait
      16    │     2      │       yes                 8 single_thread, and the other worker takes the other 8
      16    │     1      │       no                  16 single_thread
     500    │     1      │       no                  the smallest size that wastes nothing, single_thread

On a CPU two runs of one thread beat one run of two threads, so cores are shared out by workers while there is enough
for all of them; intra-op threads serve the caller who is alone. A batch is no larger than pays: beyond that it would
only make everybody behind it wait longer. Where costs are not known, work is split evenly and sizes are as large as
they may be.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from types import MappingProxyType

Costs = Mapping[int, float]

NOT_KNOWN: Costs = MappingProxyType({})
# What a second worker costs: its waking, and the Python of one batch more. On two cores a request alone took 62 to
# 75 us of CPU there; rounded up, since below it another worker only adds work.
HAND_OVER_S = 100e-6
# What a worker does in Python for a sample; two workers cannot do that side by side.
SAMPLE_S = 12e-6
# Forty times what a worker loses between two runs beside an event loop that answers a thousand requests a second: it
# draws inputs, hands out results and waits for the interpreter, measured as 0.3 ms. A longer run gains a fortieth at
# most, and loses it again where the batch outgrows the caches: of 1.25 ms a sample, runs of 10 and of 20 ms gave 3 to
# 5 % more samples a second than runs of 41 ms, and a p99 a tenth shorter.
LONG_ENOUGH_S = 12e-3
# Unless a larger batch gives more than this many times its samples a second; less may be the noise of the costs, by
# which no start should choose other sizes than the last.
CHEAPER = 1.05
# A small run may cost so many times more a sample and still be run by itself, so that those in it need not wait for a
# large one: on processors one sample costs 0.99 to 1.05 times what each of 64 does, on a GPU fifty times.
AS_CHEAP = 1.25


class BatchSizer:
    """The batch sizes of one graph.

    Args:
        buckets: that serve, ascending; at least one.
        single_thread_s: bucket → seconds of a run on one core; of every bucket, or empty where they are not known.
        all_cores_s: bucket → seconds of a run on all cores; empty where there are none.
    """

    def __init__(
        self, buckets: Sequence[int], single_thread_s: Costs = NOT_KNOWN, all_cores_s: Costs = NOT_KNOWN
    ) -> None:
        self._single_thread_s = single_thread_s
        self._all_cores_s = all_cores_s
        self._buckets = tuple(buckets[: self._worthwhile(buckets)])

    @property
    def largest(self) -> int:
        """The most samples that are worth running together."""
        return self._buckets[-1]

    @property
    def pays_to_hand_over(self) -> bool:
        """Whether a run takes longer than what is around it, so that a second worker has something to do meanwhile."""
        return not self._single_thread_s or self._single_thread_s[self.largest] > HAND_OVER_S + SAMPLE_S * self.largest

    def run_s(self, size: int, *, all_cores: bool) -> float | None:
        """Seconds of a run of so many rows; None where costs are not known."""
        return (self._all_cores_s if all_cores else self._single_thread_s).get(size)

    def fitting(self, available: int) -> int:
        """The largest size that `available` samples fill, else the smallest."""
        return self._buckets[max(bisect_right(self._buckets, available) - 1, 0)]

    def pay_alone(self, samples: int) -> bool:
        """Whether so few samples cost hardly more by themselves than in the largest run; not if that is unknown."""
        size = self.fitting(samples)
        if not self._single_thread_s:
            return False
        return self._single_thread_s[size] / size <= AS_CHEAP * self._single_thread_s[self.largest] / self.largest

    def choose(self, available: int, free: int, *, alone: bool) -> tuple[int, bool]:
        """Choose the next run.

        Args:
            available: samples that wait, at least 1.
            free: workers that could take them, at least 1, the asking one among them.
            alone: whether no other run is in progress.

        Returns:
            Its rows: the largest bucket that is full, else the smallest; and whether it is all_cores.
        """
        whole = self.fitting(available)
        share = self.fitting(-(-available // free))
        split = share < whole and self._saved_s(whole, share) > HAND_OVER_S
        single_thread = share if split else whole
        if alone and available <= whole and self._is_faster_wide(whole, single_thread):
            return whole, True
        return single_thread, False

    def _saved_s(self, whole: int, share: int) -> float:
        """How much sooner a share is done than the whole; where costs are not known, much."""
        return self._single_thread_s[whole] - self._single_thread_s[share] if self._single_thread_s else float("inf")

    def _is_faster_wide(self, whole: int, single_thread: int) -> bool:
        if whole not in self._all_cores_s:
            return False
        others_wake_s = HAND_OVER_S if single_thread < whole else 0.0
        return self._all_cores_s[whole] < self._single_thread_s[single_thread] + others_wake_s

    def _worthwhile(self, buckets: Sequence[int]) -> int:
        """How many of the buckets, from the smallest, are worth having."""
        rates = [size / self._single_thread_s[size] for size in buckets] if self._single_thread_s else []
        for count, rate in enumerate(rates, 1):
            is_long_enough = self._single_thread_s[buckets[count - 1]] >= LONG_ENOUGH_S
            if is_long_enough and max(rates[count:], default=0.0) <= CHEAPER * rate:
                return count
        return len(buckets)
