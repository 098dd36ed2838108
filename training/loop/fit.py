"""Trains to the end of a run: steps, what is logged and saved between them, signals, rollbacks."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from torch import Tensor

from training.diagnostics import film
from training.diagnostics.monitor import Monitor
from training.errors import CollapseError, DivergenceError, Interrupted
from training.loop.evaluator import Evaluator
from training.loop.run_logger import RunLogger
from training.loop.trainer import Trainer
from training.state import checkpoint, history
from training.state.best import lowest, measurements
from training.state.history import Event, Row

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass
class StopRequest:
    """A request to stop; `signal_number` is None until one arrives."""

    signal_number: int | None = None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Watch for a request to stop.

    Yields:
        The request, to be polled between steps.
    """
    request = StopRequest()
    former = {number: signal.getsignal(number) for number in STOP_SIGNALS}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    def ask(number: int, _frame: FrameType | None) -> None:
        request.signal_number = number
        restore()

    for number in STOP_SIGNALS:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        restore()


@dataclass(frozen=True)
class Observers:
    """The logger, the monitor and the evaluator, which only the main process has."""

    recorder: RunLogger
    monitor: Monitor
    evaluator: Evaluator | None = None

    def observe(
        self, trainer: Trainer, readings: dict[str, Tensor], means: Row, *, measuring: bool, evaluating: bool
    ) -> Event | None:
        """Show one step, and log it if there is something to log.

        Args:
            means: a row of the log, or nothing.
            measuring: whether to measure the networks, too.
            evaluating: whether to measure the averaged generator's samples.

        Returns:
            The event that the row causes, if any.
        """
        self.recorder.advance(trainer.samples_seen, readings)
        made = measuring and (trainer.finished or self.monitor.has_time())
        row = means | (self.monitor.measure(trainer.players, trainer.ema) if made else {})
        if evaluating and self.evaluator is not None:
            row |= self.evaluator.measure(trainer.ema)
        if not row:
            return None
        self.recorder.means(trainer.samples_seen, row)
        event = self.monitor.watch({"samples": trainer.samples_seen, **row})
        if event is not None:
            self.recorder.event(event)
        return event


def fit(trainer: Trainer, run: Path, observers: Observers | None) -> None:
    """Train to the end, logging and writing checkpoints at the configured intervals.

    Args:
        trainer: at its start, or restored.
        observers: of the main process; None in the others.

    Raises:
        Interrupted: after SIGINT or SIGTERM and a checkpoint.
        DivergenceError: if a loss is not finite and rolling back did not help; the checkpoints are kept.
        CollapseError: if the generator collapsed and the run is to stop then; after a checkpoint.
        CheckpointError: if a checkpoint cannot be written.
    """
    with stop_on_signal() as stop:
        while not trainer.finished:
            try:
                _advance(trainer, run, observers, stop)
            except DivergenceError as error:
                _roll_back(trainer, run, observers, error)


def _advance(trainer: Trainer, run: Path, observers: Observers | None, stop: StopRequest) -> None:
    pace, watched = trainer.config.trainer, trainer.config.diagnostics
    readings = trainer.step()
    stopping = trainer.any_process(here=stop.signal_number is not None)  # one process alone would wait for the others
    saving = stopping or trainer.passed(pace.checkpoint_every_samples)
    logging = trainer.passed(pace.log_every_samples)
    measuring = watched.every_samples > 0 and trainer.passed(watched.every_samples)
    evaluating = watched.evaluate_every_samples > 0 and trainer.passed(watched.evaluate_every_samples)
    if saving or logging or measuring or evaluating:
        trainer.check_finite()
    means = trainer.take_means() if logging else {}
    event = None
    if observers is not None:
        event = observers.observe(trainer, readings, means, measuring=measuring, evaluating=evaluating)
    collapsed = measuring and watched.stop_on_collapse and _collapsed(trainer, event)
    if observers is not None:
        _draw(trainer, observers.recorder)
        if saving or collapsed or evaluating:
            observers.recorder.flush()
        if evaluating and _is_best(run, trainer.samples_seen):
            checkpoint.save_best(run, trainer.checkpoint())  # first: a run that goes on from the other has this one
        if saving or collapsed:
            checkpoint.save(run, trainer.checkpoint())
    if collapsed:
        what = "the generator has collapsed" if event is None else event.text
        raise CollapseError(
            f"stopped at sample {trainer.samples_seen:,}: {what}; `python -m training diagnose {run}` says what to "
            f"try, `python -m training resume {run}` continues anyway"
        )
    if stopping:
        raise Interrupted(
            f"stopped at sample {trainer.samples_seen:,}; go on with `python -m training resume {run}`",
            stop.signal_number or signal.SIGTERM,  # where another process received it
        )


def _draw(trainer: Trainer, recorder: RunLogger) -> None:
    """Draw the fixed latents, if a grid or a frame of the film is due."""
    pace, seen = trainer.config.trainer, trainer.samples_seen
    whole = trainer.passed(pace.grid_every_samples)
    frame = film.is_due(seen - pace.batch_size, seen, pace.total_samples)
    if whole or frame:
        recorder.grid(seen, trainer.fixed_samples(), trainer.data.train, whole=whole, frame=frame)


def _is_best(run: Path, samples_seen: int) -> bool:
    """Whether the samples that have just been measured are the best of the run so far."""
    found = lowest(measurements(history.rows(run)))
    return found is not None and found.samples == samples_seen


def _collapsed(trainer: Trainer, event: Event | None) -> bool:
    """Whether the main process has just raised the collapse alarm."""
    return trainer.any_process(here=event is not None and event.event == "collapse")


def _roll_back(trainer: Trainer, run: Path, observers: Observers | None, error: DivergenceError) -> None:
    """Continue from the newest checkpoint with lower learning rates, or give up."""
    if len(trainer.rollbacks) >= trainer.config.diagnostics.rollback or checkpoint.latest(run) is None:
        if observers is not None:
            observers.recorder.event(Event(trainer.samples_seen, "divergence", error.reason))
        raise error
    trainer.roll_back(checkpoint.read(run)["state"], error.reason)
    if observers is not None:
        observers.recorder.rewind(trainer.samples_seen, trainer.recorded)
        observers.monitor.replay(history.rows(run))
        observers.recorder.flush()
        checkpoint.save(run, trainer.checkpoint())
