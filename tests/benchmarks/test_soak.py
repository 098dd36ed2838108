"""A soak knows wrong answers and growth: it is held to a leaky control, to a service as it is, and to plain numbers."""

import pytest

from benchmarks.trust import growth
from benchmarks.trust.controls import KEPT_BYTES
from benchmarks.trust.growth import MEBIBYTE, Measured
from benchmarks.trust.mixture import Call, Known, Tally
from benchmarks.trust.soak import Prepared, Soaked, soak

SECONDS = 4.0


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return Prepared.make(tmp_path_factory.mktemp("soak"))


def short(prepared: Prepared, leak: int = 0) -> Soaked:
    return soak(prepared, SECONDS, SECONDS / 20, lambda *_: None, leak=leak)


@pytest.mark.slow
def test_a_service_that_leaks_fails_by_its_memory_alone(prepared: Prepared) -> None:
    found = short(prepared, KEPT_BYTES)
    assert found.grows == ["rss of process 0"]
    assert not found.passes
    assert not found.tally.faults, found.tally.words


@pytest.mark.slow
def test_the_service_answers_a_mixed_load_as_known_and_does_not_grow(prepared: Prepared) -> None:
    found = short(prepared)
    assert found.passes, (found.tally.words, found.growth, found.left)
    assert found.tally.asked.total() > 30
    assert {row["quantity"] for row in found.growth} == {
        "series", *(f"{what} of process 0" for what in ("rss", "fds", "threads"))
    }  # fmt: skip


def line(start: float, per_s: float, seconds: float) -> list[Measured]:
    """RSS in bytes, a measurement every five seconds, with a peak now and then."""
    times = [5.0 * step for step in range(int(seconds / 5))]
    values = [start + per_s * at_s + 50 * MEBIBYTE * (step % 10 == 9) for step, at_s in enumerate(times)]
    return [Measured(at_s, {"rss of process 0": value}) for at_s, value in zip(times, values, strict=True)]


@pytest.mark.parametrize(
    ("mebibytes_in_ten_minutes", "seconds", "grows"),
    [(0.0, 1800, False), (0.9, 1800, False), (1.1, 1800, True), (-5.0, 1800, False), (50, 60, False), (300, 60, True)],
)
def test_memory_grows_by_its_slope_whatever_its_peaks(
    mebibytes_in_ten_minutes: float, seconds: float, *, grows: bool
) -> None:
    measured = line(200 * MEBIBYTE, mebibytes_in_ten_minutes * MEBIBYTE / growth.TEN_MINUTES_S, seconds)
    (row,) = growth.judge(measured, warm_up_s=seconds / 6)
    assert row["grows"] == grows
    assert row["slope_10_min"] == pytest.approx(mebibytes_in_ten_minutes, abs=0.01)


def test_one_descriptor_more_for_ever_is_growth_and_one_now_and_then_is_not() -> None:
    leaking = [Measured(5.0 * step, {"fds of process 0": 20 + step // 100}) for step in range(360)]
    wavering = [Measured(5.0 * step, {"fds of process 0": 20 + step % 3}) for step in range(360)]
    assert [growth.judge(each, 300)[0]["grows"] for each in (leaking, wavering)] == [True, False]


def test_an_answer_other_than_the_known_one_is_wrong_and_one_that_may_be_is_counted_apart() -> None:
    tally, known = Tally(), Known(200, None, b"bytes")
    call = Call("quota", "POST", "/generate", may=frozenset({429}))
    for given in (known, Known(200, None, b"other"), Known(429, None, b""), Known(500, None, b"")):
        tally.count(call, known, given)
    tally.lost(call, ConnectionResetError())
    assert tally.asked == {"quota": 5}
    assert tally.apart == {"quota: 429": 1}
    assert tally.faults == {"wrong": 2, "5xx": 1, "lost": 1}
    assert len(tally.words) == 3
