"""The monitor: rows under the log's names, and an alarm that rows alone decide."""

import pytest
import torch

from tests.support import small
from training.data import DigitsConfig, digits
from training.diagnostics.monitor import Budget, Monitor
from training.loop.trainer import Trainer
from training.state.players import Players

DIGITS = digits.load(DigitsConfig())
CPU = torch.device("cpu")
POINT = {"theory/diversity": 0.0}


def test_readings_carry_the_prefix_of_the_log() -> None:
    training = Trainer(small.config(), DIGITS)
    row = Monitor(training.config, DIGITS, training.task, CPU).measure(training.players, training.ema)
    assert row
    assert all(name.startswith("theory/") for name in row)


def test_where_nothing_is_to_be_measured_there_are_no_readings() -> None:
    training = Trainer(small.config(diagnostics={"every_samples": 0}), DIGITS)
    assert Monitor(training.config, DIGITS, training.task, CPU).measure(training.players, training.ema) == {}


def test_a_replayed_alarm_goes_on_where_it_was() -> None:
    training = Trainer(small.config(), DIGITS)
    watched, resumed = (Monitor(training.config, DIGITS, training.task, CPU) for _ in range(2))
    assert watched.watch({"samples": 640, **POINT}) is None
    resumed.replay([{"samples": 640, **POINT}])
    events = [monitor.watch({"samples": 960, **POINT}) for monitor in (watched, resumed)]
    assert events[0] == events[1]
    assert events[0] is not None
    assert events[0].event == "collapse"


def test_a_replay_forgets_what_was_watched_before() -> None:
    training = Trainer(small.config(), DIGITS)
    monitor = Monitor(training.config, DIGITS, training.task, CPU)
    monitor.watch({"samples": 640, **POINT})
    monitor.replay([])
    assert monitor.watch({"samples": 960, **POINT}) is None


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_measurements_take_at_most_a_fiftieth_of_the_time_after_the_first() -> None:
    clock = Clock()
    budget = Budget(clock)
    costs_s: list[float] = []
    for _ in range(2_000):
        clock.now_s += 0.05  # a hundred steps
        if budget.allows():
            cost_s = 0.5 if not costs_s else 0.01
            with budget.measuring():
                clock.now_s += cost_s
            costs_s.append(cost_s)
    assert 0.018 * clock.now_s < sum(costs_s[1:]) <= 0.02 * clock.now_s


def test_cheap_measurements_are_all_made() -> None:
    clock = Clock()
    budget = Budget(clock)
    for _ in range(100):
        clock.now_s += 1.0
        assert budget.allows()
        with budget.measuring():
            clock.now_s += 0.01


def test_on_a_cpu_and_in_a_deterministic_run_every_measurement_is_made() -> None:
    training = Trainer(small.config(), DIGITS)
    monitor = Monitor(training.config, DIGITS, training.task, CPU)
    for _ in range(3):
        assert monitor.has_time()
        assert monitor.measure(training.players, training.ema)
    assert monitor.has_time()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_card_measures_what_a_cpu_does() -> None:
    training = Trainer(small.config(), DIGITS)
    card = Monitor(training.config, DIGITS, training.task, training.device).measure(training.players, training.ema)
    sides = (side.cpu() for side in (training.players.generator_side, training.players.critic_side))
    here = Monitor(training.config, DIGITS, training.task, CPU).measure(Players(*sides), training.ema.cpu())
    assert card == pytest.approx(here, rel=1e-2)
