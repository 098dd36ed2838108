"""The monitor: rows under the log's names, and an alarm that rows alone decide."""

import torch

from tests.support import small
from training.data import DigitsConfig, digits
from training.diagnostics.monitor import Monitor
from training.loop.trainer import Trainer

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
