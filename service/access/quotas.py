"""How many samples each key may still ask for: token buckets, told the time.

A bucket holds `burst` samples when it is full, and is filled at `samples_per_second`. It is kept as the moment at which
it will be full, in whole nanoseconds: when a request is admitted again is then exact, whatever the rate.

             now            full_at
    ──────────┼───────────────┼──────▶   missing = (full_at - now) / interval
              │◀── at most burst · interval ──▶│

References:
    ITU-T I.371 (2004), annex A: the generic cell rate algorithm, which this is.
    draft-ietf-httpapi-ratelimit-headers-10 (2025): `RateLimit-Policy` and `RateLimit`.
"""

import time
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from service.access.keys import Key

NS_PER_S: Final = 1_000_000_000
# Names come and go; those whose bucket is full again are forgotten when there are so many.
MOST_BUCKETS: Final = 2_000
# The name of the policy, in the headers.
POLICY: Final = "samples"

Header = tuple[bytes, bytes]


class Standing(NamedTuple):
    """Where a bucket stands after a request.

    Attributes:
        is_admitted: whether the request is.
        left: samples that may be asked for now.
        full_s: whole seconds until the bucket is full, if nothing takes from it.
        retry_after_s: whole seconds after which the same request is admitted, if nothing takes from it; 0 where it is.
    """

    is_admitted: bool
    left: int
    full_s: int
    retry_after_s: int = 0


@dataclass(frozen=True, slots=True)
class Limit:
    """What a bucket allows.

    Attributes:
        samples_per_second: over time, at most a million.
        burst: at once.
    """

    samples_per_second: float
    burst: int

    @property
    def interval_ns(self) -> int:
        """In which one sample comes back."""
        return round(NS_PER_S / self.samples_per_second)


class TokenBuckets:
    """A bucket for each name; pure but for what it remembers."""

    def __init__(self) -> None:
        self._full_at: dict[str, int] = {}

    def take(self, name: str, limit: Limit, samples: int, now_ns: int) -> Standing:
        """Take samples, all of them or none.

        Args:
            limit: of the name now; it may be another than before.
            samples: at least 1, and at most the burst.
            now_ns: the time, never before that of an earlier call.
        """
        interval, capacity = limit.interval_ns, limit.burst * limit.interval_ns
        # Of a limit that was stricter, the time to fill up may be longer than an empty bucket takes now.
        full_at = min(max(self._full_at.get(name, now_ns), now_ns), now_ns + capacity)
        missing = full_at - now_ns
        too_many = missing + samples * interval - capacity
        if too_many > 0:
            return Standing(False, (capacity - missing) // interval, _seconds(missing), _seconds(too_many))
        if name not in self._full_at and len(self._full_at) >= MOST_BUCKETS:
            self._full_at = {each: at for each, at in self._full_at.items() if at > now_ns}
        missing += samples * interval
        self._full_at[name] = now_ns + missing
        return Standing(True, (capacity - missing) // interval, _seconds(missing))

    def give_back(self, name: str, limit: Limit, samples: int) -> None:
        """Give samples back that were taken and not computed."""
        if name in self._full_at:
            self._full_at[name] -= samples * limit.interval_ns


class Quotas(Protocol):
    """The buckets of a service, which all its processes share."""

    async def take(self, name: str, limit: Limit, samples: int) -> Standing:
        """As `TokenBuckets.take`, now."""
        ...

    async def give_back(self, name: str, limit: Limit, samples: int) -> None:
        """As `TokenBuckets.give_back`."""
        ...


class LocalQuotas:
    """The buckets, in the process that has them."""

    def __init__(self) -> None:
        self._buckets = TokenBuckets()

    async def take(self, name: str, limit: Limit, samples: int) -> Standing:
        """As `Quotas.take`."""
        return self._buckets.take(name, limit, samples, time.monotonic_ns())

    async def give_back(self, name: str, limit: Limit, samples: int) -> None:
        """As `Quotas.give_back`."""
        self._buckets.give_back(name, limit, samples)


def limit_of(key: Key) -> Limit | None:
    """What a key may ask for; None where it has no limit."""
    return None if key.samples_per_second is None else Limit(key.samples_per_second, key.burst)


def headers_of(limit: Limit, standing: Standing) -> tuple[Header, Header]:
    """The headers that tell a caller its limit, and where it stands."""
    window_s = _seconds(limit.burst * limit.interval_ns)
    return (
        (b"ratelimit-policy", f'"{POLICY}";q={limit.burst};w={window_s}'.encode()),
        (b"ratelimit", f'"{POLICY}";r={standing.left};t={standing.full_s}'.encode()),
    )


def _seconds(nanoseconds: int) -> int:
    """In whole seconds, rounded up."""
    return -(-nanoseconds // NS_PER_S)
