"""A trainer's way to its end: what is due after each step, and what follows when something goes wrong.

    step ──▶ numbers sound? ──▶ log, measure ──▶ collapsed? ──▶ grid ──▶ checkpoint ──▶ told to stop?
                  │ no                               └ to stop then: checkpoint, CollapseError
                  └▶ back to the newest checkpoint, at half the learning rates; after so many times, DivergenceError

The trainer knows how to step; when to look up from it is this module's business. A rollback is part of the checkpoint
from which the run goes on, so a run that is interrupted after one still ends like one that was not.
"""

import signal
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from training import checkpoint
from training.diagnostics import history
from training.diagnostics.history import Event, Row
from training.diagnostics.monitor import Monitor
from training.errors import CollapseError, DivergenceError, Interrupted
from training.interruption import StopRequest, stop_on_signal
from training.recording import Recorder
from training.trainer import Trainer


@dataclass(frozen=True)
class Observers:
    """What the main process has and the others do not.

    Attributes:
        recorder: writes down what is seen.
        monitor: looks at the networks.
    """

    recorder: Recorder
    monitor: Monitor

    def observe(self, trainer: Trainer, readings: dict[str, Tensor], means: Row, *, measuring: bool) -> Event | None:
        """Show and write down one step, if there is something to write.

        Args:
            trainer: after the step.
            readings: of the step.
            means: a row of the log, or nothing.
            measuring: whether to look at the networks, too.

        Returns:
            What happened, if anything did.
        """
        self.recorder.advance(trainer.samples_seen, readings)
        row = means | (self.monitor.measure(trainer.players, trainer.ema) if measuring else {})
        if not row:
            return None
        self.recorder.means(trainer.samples_seen, row)
        event = self.monitor.watch({"samples": trainer.samples_seen, **row})
        if event is not None:
            self.recorder.event(event)
        return event


def fit(trainer: Trainer, run: Path, observers: Observers | None) -> None:
    """Train to the end, recording and writing checkpoints as the configuration says.

    Args:
        trainer: at its start, or restored.
        run: the run's folder.
        observers: of the main process; None in the others.

    Raises:
        Interrupted: after SIGINT or SIGTERM and a checkpoint.
        DivergenceError: if a loss is no longer a number and going back did not help; the checkpoints are kept.
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
    stopping = trainer.agreed(here=stop.signal_number is not None)  # one process alone would wait for the others
    saving = stopping or trainer.passed(pace.checkpoint_every_samples)
    logging = trainer.passed(pace.log_every_samples)
    measuring = watched.every_samples > 0 and trainer.passed(watched.every_samples)
    if saving or logging or measuring:
        trainer.check_finite()
    means = trainer.take_means() if logging else {}
    event = None if observers is None else observers.observe(trainer, readings, means, measuring=measuring)
    collapsed = measuring and watched.stop_on_collapse and _collapsed(trainer, event)
    if observers is not None:
        if trainer.passed(pace.grid_every_samples):
            observers.recorder.grid(trainer.samples_seen, trainer.fixed_samples(), trainer.data.train)
        if saving or collapsed:
            observers.recorder.flush()
            checkpoint.save(run, trainer.checkpoint())
    if collapsed:
        what = "the generator has collapsed" if event is None else event.text
        raise CollapseError(
            f"stopped at sample {trainer.samples_seen:,}: {what}; `python -m training diagnose {run}` says what to "
            f"try, `python -m training resume {run}` goes on regardless"
        )
    if stopping:
        raise Interrupted(
            f"stopped at sample {trainer.samples_seen:,}; go on with `python -m training resume {run}`",
            stop.signal_number or signal.SIGTERM,  # where another process was told
        )


def _collapsed(trainer: Trainer, event: Event | None) -> bool:
    """Whether the main process has just seen a collapse."""
    return trainer.agreed(here=event is not None and event.event == "collapse")


def _roll_back(trainer: Trainer, run: Path, observers: Observers | None, error: DivergenceError) -> None:
    """Go on from the newest checkpoint with lower learning rates, or give up."""
    if len(trainer.rollbacks) >= trainer.config.diagnostics.rollback or checkpoint.latest(run) is None:
        if observers is not None:
            observers.recorder.event(Event(trainer.samples_seen, "divergence", error.reason))
        raise error
    trainer.roll_back(checkpoint.read(run)["state"], error.reason)
    if observers is not None:
        observers.recorder.rewind(trainer.samples_seen, trainer.rollbacks)
        observers.monitor.replay(history.rows(run))
        observers.recorder.flush()
        checkpoint.save(run, trainer.checkpoint())
