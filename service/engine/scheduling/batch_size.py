"""Size of the next run, and whether it uses one core or all, from the measured costs of runs.

    waiting │ free workers │ no other run        chosen
    ────────┼──────────────┼──────────────       ─────────────────────────────────────────────────────
       1    │      2       │     yes             1 on all cores: the shortest latency
      16    │      2       │     yes             8 on one core; the other worker takes the other 8
      16    │      1       │     no              16 on one core
     500    │      1       │     no              the largest size that pays, on one core

On a CPU two runs of one thread beat one run of two threads, so cores are shared out between workers while there is
enough for all of them; a run on all cores serves the request that is alone. A batch is no larger than pays, since every
request behind it waits for it. Where costs are unknown, work is split evenly, and sizes are as large as allowed.

Another device has one worker, and hardly notices the batch: 63 samples cost it six runs of 32, 16, … and 1, or one run
of 64 with a row of padding. Of the two the cheaper is chosen.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from types import MappingProxyType

Costs = Mapping[int, float]

NOT_KNOWN: Costs = MappingProxyType({})
# Larger batches gain nothing on a core, and every request behind one waits for it.
CPU_BATCH = 64
# A device computes as many about as soon, and Python has less to do for each sample.
DEVICE_BATCH = 256
# Waking a second worker, and the Python of one more batch: splitting that saves less does not pay.
HAND_OVER_S = 100e-6
# Python of a worker per sample; the interpreter lock keeps two workers from doing it side by side.
SAMPLE_S = 12e-6
# Forty times the 0.3 ms of Python between two runs: longer runs gain a fortieth at most, and lose it in the caches.
LONG_ENOUGH_S = 12e-3
# A larger size must give this many times the samples per second; less may be noise, and starts would differ.
LEAST_GAIN = 1.05
# A small run may cost this much more per sample than the largest and still run by itself, so that it need not wait.
LARGEST_LOSS = 1.25


def largest_batch(stated: int, *, on_device: bool) -> int:
    """The most samples in one run: as stated, or where 0 is, what suits the CPU or another device."""
    return stated or (DEVICE_BATCH if on_device else CPU_BATCH)


class BatchSizer:
    """The batch sizes of one graph.

    Args:
        buckets: allowed batch sizes, ascending; at least one.
        single_thread_s: bucket → seconds of a run on one core; of every bucket, or empty where unknown.
        all_cores_s: bucket → seconds of a run on all cores; empty where there are none.
        on_device: whether the runs are on a device that is not the CPU, so that padding may be cheaper than more runs.

    Attributes:
        largest: the most samples that are worth running together.
    """

    def __init__(
        self,
        buckets: Sequence[int],
        single_thread_s: Costs = NOT_KNOWN,
        all_cores_s: Costs = NOT_KNOWN,
        *,
        on_device: bool = False,
    ) -> None:
        self.single_thread_s = single_thread_s
        self.all_cores_s = all_cores_s
        self._buckets = tuple(buckets[: self._worthwhile(buckets)])
        self.largest = self._buckets[-1]
        self._on_device = on_device
        self._cheapest = self._cheapest_sizes() if on_device and single_thread_s else None

    @property
    def pays_to_hand_over(self) -> bool:
        """Whether a run takes longer than the Python around it, so that a second worker has something to overlap."""
        return not self.single_thread_s or self.single_thread_s[self.largest] > HAND_OVER_S + SAMPLE_S * self.largest

    def fitting(self, available: int) -> int:
        """The size of the first run of so many samples.

        On a device the cheaper of the smallest size that takes them all, and the largest that they fill with further
        runs behind it; on the CPU, and where costs are unknown, the largest that they fill, else the smallest.
        """
        if self._cheapest is not None:
            return self._cheapest[min(available, self.largest)]
        return self._buckets[max(bisect_right(self._buckets, available) - 1, 0)]

    def pays_alone(self, samples: int) -> bool:
        """Whether so few samples cost hardly more by themselves than in the largest run; no where unknown."""
        if not self.single_thread_s:
            return False
        size = self.fitting(samples)
        filled = min(size, samples) if self._on_device else size
        return self.single_thread_s[size] / filled <= LARGEST_LOSS * self.single_thread_s[self.largest] / self.largest

    def choose(self, available: int, free: int, *, alone: bool) -> tuple[int, bool]:
        """Choose the next run.

        Args:
            available: samples that wait, at least 1.
            free: workers that could take them, the asking one included.
            alone: whether no other run is in progress.

        Returns:
            Its rows, as `fitting` of the samples or of a worker's share of them; and whether it uses all cores.
        """
        size = whole = self.fitting(available)
        if free > 1:
            share = self.fitting(-(-available // free))
            if share < whole and self._saved_s(whole, share) > HAND_OVER_S:
                size = share
        if alone and available <= whole and whole in self.all_cores_s:
            others_wake_s = HAND_OVER_S if size < whole else 0.0
            if self.all_cores_s[whole] < self.single_thread_s[size] + others_wake_s:
                return whole, True
        return size, False

    def _saved_s(self, whole: int, share: int) -> float:
        """How much sooner a share is done than the whole; infinite where costs are unknown."""
        return self.single_thread_s[whole] - self.single_thread_s[share] if self.single_thread_s else float("inf")

    def _cheapest_sizes(self) -> Sequence[int]:
        """By number of samples, from none to the largest: the size of their first run where all of them cost least."""
        sizes, seconds = [self._buckets[0]], [0.0]
        for samples in range(1, self.largest + 1):
            size = self._buckets[bisect_left(self._buckets, samples)]
            total_s = self.single_thread_s[size]
            filled = self._buckets[max(bisect_right(self._buckets, samples) - 1, 0)]
            if filled < samples:
                in_several_s = self.single_thread_s[filled] + HAND_OVER_S + seconds[samples - filled]
                if in_several_s < total_s:
                    size, total_s = filled, in_several_s
            sizes.append(size)
            seconds.append(total_s)
        return sizes

    def _worthwhile(self, buckets: Sequence[int]) -> int:
        """How many of the buckets, from the smallest, are worth having."""
        rates = [size / self.single_thread_s[size] for size in buckets] if self.single_thread_s else []
        for count, rate in enumerate(rates, 1):
            is_long_enough = self.single_thread_s[buckets[count - 1]] >= LONG_ENOUGH_S
            if is_long_enough and max(rates[count:], default=0.0) <= LEAST_GAIN * rate:
                return count
        return len(buckets)
