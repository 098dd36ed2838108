"""Token buckets: what they admit over time, and whether the time that they name is true."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from service.access.quotas import MOST_BUCKETS, NS_PER_S, Limit, TokenBuckets, headers_of

LIMITS = st.builds(Limit, st.floats(0.01, 1e6), st.integers(1, 100_000))


@dataclass(frozen=True)
class Asked:
    """A request after so many nanoseconds, for such a part of the burst."""

    after_ns: int
    part: float


ASKED = st.lists(st.builds(Asked, st.integers(0, 20 * NS_PER_S), st.floats(0, 1)), min_size=1, max_size=40)


def samples_of(asked: Asked, limit: Limit) -> int:
    return max(1, round(asked.part * limit.burst))


@given(LIMITS, ASKED)
def test_no_window_of_time_admits_more_than_the_burst_and_its_rate(limit: Limit, requests: list[Asked]) -> None:
    buckets, now, admitted = TokenBuckets(), 0, []
    for asked in requests:
        now += asked.after_ns
        if buckets.take("a", limit, samples_of(asked, limit), now).is_admitted:
            admitted.append((now, samples_of(asked, limit)))
    for first, (begin, _) in enumerate(admitted):
        total = 0
        for end, samples in admitted[first:]:
            total += samples
            assert total <= limit.burst + (end - begin) / limit.interval_ns


@given(LIMITS, ASKED)
def test_what_is_refused_is_admitted_after_exactly_the_time_that_is_named_and_would_not_be_a_second_sooner(
    limit: Limit, requests: list[Asked]
) -> None:
    buckets, now = TokenBuckets(), 0
    for asked in requests:
        now += asked.after_ns
        samples = samples_of(asked, limit)
        standing = buckets.take("a", limit, samples, now)
        if not standing.is_admitted:
            assert standing.retry_after_s >= 1
            assert standing.left < samples
            too_soon = now + (standing.retry_after_s - 1) * NS_PER_S
            assert not buckets.take("a", limit, samples, too_soon).is_admitted
            now += standing.retry_after_s * NS_PER_S
            assert buckets.take("a", limit, samples, now).is_admitted


@given(LIMITS, ASKED)
def test_what_is_said_to_be_left_is_admitted_and_one_more_is_not(limit: Limit, requests: list[Asked]) -> None:
    buckets, now = TokenBuckets(), 0
    for asked in requests:
        now += asked.after_ns
        left = buckets.take("a", limit, samples_of(asked, limit), now).left
        assert 0 <= left <= limit.burst
        if left < limit.burst:
            assert not buckets.take("a", limit, left + 1, now).is_admitted
        if left:
            assert buckets.take("a", limit, left, now).is_admitted


@given(LIMITS, LIMITS, ASKED)
def test_a_new_limit_holds_at_once_and_an_old_debt_is_at_most_an_empty_bucket(
    old: Limit, new: Limit, requests: list[Asked]
) -> None:
    buckets, now = TokenBuckets(), 0
    for asked in requests:
        now += asked.after_ns
        buckets.take("a", old, samples_of(asked, old), now)
    standing = buckets.take("a", new, new.burst, now)
    assert standing.retry_after_s * NS_PER_S < new.burst * new.interval_ns + NS_PER_S


@given(LIMITS)
def test_what_was_given_back_may_be_asked_for_again(limit: Limit) -> None:
    buckets = TokenBuckets()
    assert buckets.take("a", limit, limit.burst, 0).left == 0
    buckets.give_back("a", limit, limit.burst)
    assert buckets.take("a", limit, limit.burst, 0).is_admitted
    buckets.give_back("a", limit, limit.burst)
    buckets.give_back("a", limit, limit.burst)  # more than was taken
    assert buckets.take("a", limit, limit.burst, 0).left == 0


def test_keys_do_not_share_a_bucket_and_full_ones_are_forgotten() -> None:
    buckets, limit = TokenBuckets(), Limit(1.0, 10)
    for number in range(MOST_BUCKETS):
        assert buckets.take(str(number), limit, 10, 0).is_admitted
    later = 10 * NS_PER_S
    assert buckets.take("new", limit, 10, later).is_admitted
    assert buckets.take("0", limit, 10, later).is_admitted
    assert not buckets.take("new", limit, 1, later).is_admitted


def test_the_headers_are_those_of_the_draft() -> None:
    limit = Limit(100.0, 1000)
    standing = TokenBuckets().take("a", limit, 64, 0)
    assert headers_of(limit, standing) == (
        (b"ratelimit-policy", b'"samples";q=1000;w=10'),
        (b"ratelimit", b'"samples";r=936;t=1'),
    )
