"""What one replica's work costs, as measured: the distributions that the simulation draws from."""

import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean, median
from typing import Any, Self

from service.engine.scheduling.batch_size import BatchSizer, Costs
from service.engine.scheduling.scheduler import BatchLimits

# `GANYMEDE_TIMEOUT_MS` and `GANYMEDE_MAX_REQUESTS`, by default.
TIMEOUT_S = 30.0
MAX_REQUESTS = 1024
# Measured idle times, the nearest ones, from which one is drawn.
SIMILAR = 20


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The costs of one replica on one kind of machine, for requests of one size.

    Attributes:
        samples: of a request.
        run_s: batch size → measured seconds that a run occupies its worker, inputs and results included; at least one
            of each size, in any order.
        cores: of the replica; each runs one batch at a time.
        request_s: processor time of the event loop for a request: reading, validating, queueing.
        answer_s: the same for its response.
        after_idle: pairs of seconds, ascending: how long nothing ran, and how much longer than on average the next
            request took (cold caches, sleeping threads), with the spread of its run; none where that is no different.
        wake_s: seconds from when the event loop has something to do until it runs, while every core computes; none
            where it always runs at once.
        elsewhere_s: seconds of a request outside the replica's processor time: network, hand-overs, load generator.
        limits: of the queue.
        timeout_s: after which a caller is answered 504.
        max_requests: in the replica; one more is answered 429.
        costs_known: whether the scheduler is told what runs cost, as the service measures it when a package is loaded.
    """

    samples: int
    run_s: Mapping[int, Sequence[float]]
    cores: int = 1
    request_s: float = 0.0
    answer_s: float = 0.0
    after_idle: Sequence[tuple[float, float]] = ()
    wake_s: Sequence[float] = ()
    elsewhere_s: float = 0.0
    limits: BatchLimits = field(default_factory=BatchLimits)
    timeout_s: float = TIMEOUT_S
    max_requests: int = MAX_REQUESTS
    costs_known: bool = True

    @cached_property
    def median_s(self) -> Costs:
        """Batch size → median seconds of a run."""
        return {size: median(self.run_s[size]) for size in sorted(self.run_s)}

    @property
    def sizer(self) -> BatchSizer:
        """The service's choice of batch sizes, from these costs."""
        return BatchSizer(sorted(self.run_s), self.median_s if self.costs_known else {})

    @property
    def capacity_per_s(self) -> float:
        """Requests a second at saturation: every core busy with runs of the largest size, and with their requests."""
        largest = self.sizer.largest
        core_s = self.mean_s[largest] * self.samples / largest + self.request_s + self.answer_s
        return self.cores / core_s

    @cached_property
    def mean_s(self) -> Costs:
        """Batch size → mean seconds of a run."""
        return {size: fmean(seconds) for size, seconds in self.run_s.items()}

    def run(self, size: int, chance: random.Random, idle_s: float = 0.0) -> float:
        """Draw the seconds of a run; of the first after an idle time, with what a similar time added to a request."""
        if idle_s > 0 and self.after_idle:
            place = bisect_left(self.after_idle, (idle_s,))
            first = max(0, min(place - SIMILAR // 2, len(self.after_idle) - SIMILAR))
            similar = self.after_idle[first : first + SIMILAR]
            return max(0.0, self.mean_s[size] + chance.choice(similar)[1])
        return chance.choice(self.run_s[size])

    def wake(self, chance: random.Random) -> float:
        """Draw the seconds until the event loop runs, while every core computes."""
        return chance.choice(self.wake_s) if self.wake_s else 0.0

    def plain(self) -> dict[str, object]:
        """As JSON; the limits are the service's defaults and left out."""
        return {
            "samples": self.samples,
            "cores": self.cores,
            "request_s": self.request_s,
            "answer_s": self.answer_s,
            "elsewhere_s": self.elsewhere_s,
            "after_idle": [list(pair) for pair in self.after_idle],
            "wake_s": list(self.wake_s),
            "run_s": {str(size): list(seconds) for size, seconds in self.run_s.items()},
        }

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> Self:
        """From `plain`.

        Raises:
            ValueError: a part is missing, or is no number.
        """
        try:
            profile = cls(
                samples=int(plain["samples"]),
                run_s={int(size): tuple(map(float, seconds)) for size, seconds in plain["run_s"].items()},
                cores=int(plain["cores"]),
                request_s=float(plain["request_s"]),
                answer_s=float(plain["answer_s"]),
                after_idle=tuple(sorted((float(idle_s), float(more_s)) for idle_s, more_s in plain["after_idle"])),
                wake_s=tuple(map(float, plain["wake_s"])),
                elsewhere_s=float(plain["elsewhere_s"]),
            )
        except KeyError as error:
            raise ValueError(f"the profile lacks {error}; `python -m benchmarks capacity check` writes one") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise ValueError(f"the profile has something in another form than its numbers have: {error}") from error
        if not profile.run_s or not all(profile.run_s.values()) or min(profile.samples, profile.cores) < 1:
            raise ValueError("a profile has times of at least one batch size, and at least one core and sample")
        return profile
