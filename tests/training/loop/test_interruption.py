"""Signals: the first asks, the second insists, and nothing stays behind."""

import signal
from collections.abc import Iterator

import pytest

from training.loop.fit import stop_on_signal


@pytest.fixture(autouse=True)
def foreground() -> Iterator[None]:
    """Ctrl-C as in the foreground; a program started in the background inherits a SIGINT that is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_not_raised(number: signal.Signals) -> None:
    with stop_on_signal() as stop:
        assert stop.signal_number is None
        signal.raise_signal(number)
        assert stop.signal_number == number


def test_a_second_ctrl_c_stops_at_once() -> None:
    with stop_on_signal(), pytest.raises(KeyboardInterrupt):  # noqa: PT012 - the first must pass, the second must not
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


def test_afterwards_signals_do_what_they_did_before() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
