"""A run from its first sample to its last: a folder, started once and resumed as often as needed.

    RUN/config.toml · checkpoints/ · metrics.jsonl · events.jsonl · tensorboard/ · grids/ · report.html · lock

This is the whole of `train` and `resume` in plain calls; the command line adds only words.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from training import checkpoint, data
from training import config as configuration
from training.config import Config
from training.data import Data, ImageData
from training.diagnostics import history, report
from training.diagnostics.monitor import Monitor
from training.errors import CheckpointError, CollapseError, DivergenceError, Interrupted
from training.files import exclusive, write_atomically
from training.fit import Observers, fit
from training.networks.port import parameter_count
from training.packaging import limits
from training.progress import progress
from training.recording import Recorder
from training.trainer import Trainer

LOCK_NAME: Final = "lock"
WARM_UP_STEPS: Final = 3  # the first steps allocate memory and choose kernels
TIMED_STEPS: Final = 10
ENOUGH_S: Final = 10.0  # of either: a step of large networks takes so long that the first tell enough

Say = Callable[[str], None]


def start(config: Config, run: Path, say: Say) -> None:
    """Train from nothing.

    Args:
        config: of the run.
        run: the run's folder; made, and refused if a run with a checkpoint is in it.
        say: is given what a person should read, line by line.

    Raises:
        TrainingError: as the data, the configuration and the training raise it.
    """
    if checkpoint.latest(run) is not None:
        raise CheckpointError(
            f"{run} holds a run already; go on with `python -m training resume {run}`, or choose another --out"
        )
    trainer = Trainer(config, _load(config))
    if trainer.is_main_process:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot make {run}: {error.strerror}") from error
    _fit(trainer, run, say)


def resume(run: Path, say: Say, data_path: str | None = None) -> None:
    """Go on from the newest checkpoint, to the same end.

    Args:
        run: the run's folder.
        say: is given what a person should read, line by line.
        data_path: where the data lies now, if it has moved.

    Raises:
        TrainingError: as the checkpoint, the data and the training raise it.
    """
    saved = checkpoint.read(run)
    config = configuration.load(run / checkpoint.CONFIG_NAME)
    if data_path is not None:
        config = configuration.with_data_path(config, data_path)
    images = data.load(config.data)
    if images.sha256 != saved["data_sha256"]:
        raise CheckpointError(
            f"{run} was trained on other data: its SHA-256 was {saved['data_sha256']} and is {images.sha256}"
        )
    trainer = Trainer(config, images)
    trainer.restore(saved["state"])
    _fit(trainer, run, say)


def rehearse(config: Config, say: Say) -> None:
    """Show what would be trained and how fast, from a few steps that are thrown away.

    Args:
        config: of the run.
        say: is given what a person should read, line by line.

    Raises:
        TrainingError: as the data, the configuration and the training raise it.
    """
    trainer = Trainer(config, _load(config))
    if trainer.is_main_process:
        say(configuration.dumps(config))
        _introduce(trainer, say)
    _time_steps(trainer, WARM_UP_STEPS, "warming up")
    step_s = _time_steps(trainer, TIMED_STEPS, "timing steps")
    trainer.leave(together=True)
    if not trainer.is_main_process:
        return
    rate = config.trainer.batch_size / step_s
    say(
        f"one step of {config.trainer.batch_size} samples costs {step_s * 1000:.0f} ms: {rate:,.0f} samples/s, "
        f"{config.trainer.total_samples / rate / 60:,.1f} minutes for {config.trainer.total_samples:,} samples"
    )


def _time_steps(trainer: Trainer, most: int, what: str) -> float:
    """Train for a moment: `most` steps, or as many as `ENOUGH_S` begin; returns the seconds of one."""
    began_s = time.perf_counter()
    steps = 0
    for _ in progress(range(most), what, most):
        trainer.step()
        steps += 1
        if trainer.agreed(here=time.perf_counter() - began_s > ENOUGH_S):  # of several processes none goes on alone
            break
    trainer.check_finite()  # waits for the device, too
    return (time.perf_counter() - began_s) / steps


def _fit(trainer: Trainer, run: Path, say: Say) -> None:
    try:
        _fit_and_tell(trainer, run, say)
    except (CollapseError, DivergenceError, Interrupted):  # on which all processes agree
        trainer.leave(together=True)  # none ends, and has its launcher end the others, before the checkpoint is written
        raise
    except BaseException:
        trainer.leave(together=False)
        raise
    trainer.leave(together=True)


def _fit_and_tell(trainer: Trainer, run: Path, say: Say) -> None:
    if not trainer.is_main_process:
        fit(trainer, run, None)
        return
    pace = trainer.config.trainer
    with exclusive(run / LOCK_NAME) as holder:
        if holder is not None:
            raise CheckpointError(
                f"another process, number {holder}, is training {run}; wait for it, end it, or choose another folder. "
                "Processes that are to train one run together are started together: "
                "`torchrun --nproc_per_node N -m training train …`"
            )
        _introduce(trainer, say)
        try:
            write_atomically(run / checkpoint.CONFIG_NAME, configuration.dumps(trainer.config).encode())
            monitor = Monitor(trainer.config, trainer.data, trainer.task, trainer.device)
            with Recorder(
                run,
                total_samples=pace.total_samples,
                samples_seen=trainer.samples_seen,
                batch_size=pace.batch_size,
                rollbacks=trainer.rollbacks,
            ) as recorder:
                monitor.replay(history.rows(run))
                fit(trainer, run, Observers(recorder, monitor))
        except OSError as error:
            raise CheckpointError(f"cannot write into {run}: {error.strerror}; its checkpoints are complete") from error
        except (CollapseError, DivergenceError):
            _report(run, say)
            raise
    _report(run, say)
    say(f"{run} is complete at {trainer.samples_seen:,} samples")


def _report(run: Path, say: Say) -> None:
    page, findings = report.write(run)
    say(f"{page}: {', '.join(finding.name for finding in findings)}")


def _load(config: Config) -> Data:
    """The data of a run that begins; refused where no package could hold what it is to become."""
    loaded = data.load(config.data)
    limits.check(config, loaded)
    return loaded


def _introduce(trainer: Trainer, say: Say) -> None:
    """Say what is trained on what, how the data was read, and what may be regretted."""
    say(_summary(trainer))
    for note in trainer.data.notes if isinstance(trainer.data, ImageData) else ():
        say(f"  {note}")
    for doubt in configuration.doubts(trainer.config):
        say(f"warning: {doubt}")


def _summary(trainer: Trainer) -> str:
    data = trainer.data
    shape = "x".join(map(str, data.sample_shape)) or "items"
    return (
        f"{data.name}: {len(data.train):,} samples ({shape}), {len(data.held_out):,} more held out; "
        f"generator side {parameter_count(trainer.players.generator_side):,} parameters, "
        f"critic side {parameter_count(trainer.players.critic_side):,}; "
        f"{trainer.config.trainer.precision} on {trainer.device.type}"
        + (f", {trainer.processes} processes" if trainer.processes > 1 else "")
    )
