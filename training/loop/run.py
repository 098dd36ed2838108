"""A run: a folder, started once and resumed any number of times.

RUN/config.toml · checkpoints/ · metrics.jsonl · events.jsonl · tensorboard/ · grids/ · frames/ · report.html · lock

`train` and `resume` of the command line, as plain calls.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from training import config as configuration
from training import data
from training.config import Config
from training.data import Data, ImageData
from training.diagnostics import report
from training.diagnostics.monitor import Monitor
from training.errors import CheckpointError, CollapseError, DivergenceError, Interrupted
from training.export import limits
from training.export.graphs import transfer
from training.files import exclusive, write_atomically
from training.loop import captured, machine, trackers
from training.loop.evaluator import Evaluator
from training.loop.fit import Observers, fit
from training.loop.run_logger import RunLogger
from training.loop.trackers import Trackers
from training.loop.trainer import Trainer
from training.networks.base import parameter_count
from training.progress import progress
from training.state import changes, checkpoint
from training.state.history import Change, rows

LOCK_NAME: Final = "lock"
WARM_UP_STEPS: Final = 3  # the first steps allocate memory and choose kernels
TIMED_STEPS: Final = 10
ENOUGH_S: Final = 10.0  # limit of either: with large networks the first steps suffice

Say = Callable[[str], None]
Result = dict[str, object]


def start(config: Config, run: Path, say: Say, history: Sequence[Change] = (), init: Path | None = None) -> Result:
    """Train from nothing.

    Args:
        run: the run's folder; made, and refused if a run with a checkpoint is in it.
        say: called with each line for the user.
        history: how the configuration was changed beside its file.
        init: folder of a run or a package, whose weights are begun with where they fit.

    Returns:
        The run's folder, its training time, its report and the names of the findings; empty in other processes than
        the main one.

    Raises:
        TrainingError: as the data, the configuration and the training raise it.
    """
    if checkpoint.latest(run) is not None:
        raise CheckpointError(
            f"{run} holds a run already; go on with `python -m training resume {run}`, or choose another --out"
        )
    trackers.check(config)
    trainer = _begin(config, history, init, say)
    if trainer.is_main_process:
        try:
            run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CheckpointError(f"cannot make {run}: {error.strerror}") from error
    return _fit(trainer, run, say)


def resume(
    run: Path,
    say: Say,
    data_path: str | None = None,
    *,
    total_samples: int | None = None,
    data_changed: bool = False,
) -> Result:
    """Continue from the newest checkpoint to the end of the run.

    Args:
        say: called with each line for the user.
        data_path: the data's path, if it has moved.
        total_samples: another length of the run.
        data_changed: whether the data may be other than the run's.

    Returns:
        As `start`.

    Raises:
        TrainingError: as the checkpoint, the data and the training raise it.
    """
    saved = checkpoint.read(run)
    config, longer = checkpoint.config_of(run, saved), None
    if total_samples is not None:
        config, longer = changes.with_length(config, saved, run, total_samples)
    if data_path is not None:
        config = configuration.with_data_path(config, data_path)
    trackers.check(config)
    images = data.load(config.data)
    other_data = changes.with_data(config, saved, run, images, allowed=data_changed)
    if other_data is not None:
        limits.check(config, images)
    made = [change for change in (longer, other_data) if change is not None]
    trainer = Trainer(config, images, history=[*checkpoint.changes_of(saved), *made])
    if trainer.is_main_process:
        if total_samples is not None and longer is None:
            say(f"note: the length of {run} is {total_samples:,} samples already; nothing is changed")
        if data_changed and other_data is None:
            say(f"note: the data of {run} is what it was; nothing is changed")
    doubt = machine.compare(
        saved.get("machine", {}), machine.describe(trainer.device), deterministic=config.trainer.deterministic
    )
    if doubt is not None and trainer.is_main_process:
        say(f"note: {doubt}")
    trainer.restore(saved["state"])
    return _fit(trainer, run, say, changed=bool(made))


def dry_run(config: Config, say: Say, note: Say, history: Sequence[Change] = (), init: Path | None = None) -> Result:
    """Show what would be trained and how fast, from a few discarded steps.

    Args:
        say: called with the configuration, TOML.
        note: called with each line for the user.
        history: how the configuration was changed beside its file.
        init: as `start`.

    Returns:
        The cost of a step and of the run; empty in other processes than the main one.

    Raises:
        TrainingError: as the data, the configuration and the training raise it.
    """
    trainer = _begin(config, history, init, note)
    if trainer.is_main_process:
        say(configuration.dumps(config).rstrip())
        _introduce(trainer, note)
    graph = captured.STEPS_BEFORE_REPLAY if config.trainer.cuda_graph else 0
    _time_steps(trainer, max(WARM_UP_STEPS, graph), "warming up")
    step_s = _time_steps(trainer, TIMED_STEPS, "timing steps")
    trainer.shut_down(together=True)
    if not trainer.is_main_process:
        return {}
    rate = config.trainer.batch_size / step_s
    note(
        f"one step of {config.trainer.batch_size} samples costs {step_s * 1000:.0f} ms: {rate:,.0f} samples/s, "
        f"{config.trainer.total_samples / rate / 60:,.1f} minutes for {config.trainer.total_samples:,} samples"
    )
    return {
        "step_ms": step_s * 1000,
        "samples_per_s": rate,
        "total_samples": config.trainer.total_samples,
        "minutes": config.trainer.total_samples / rate / 60,
    }


def _time_steps(trainer: Trainer, most: int, what: str) -> float:
    """Train for `most` steps or `ENOUGH_S`, and return the seconds of one step."""
    began_s = time.perf_counter()
    steps = 0
    for _ in progress(range(most), what, most):
        trainer.step()
        steps += 1
        if trainer.any_process(here=time.perf_counter() - began_s > ENOUGH_S):  # all processes stop together
            break
    trainer.check_finite()  # waits for the device, too
    return (time.perf_counter() - began_s) / steps


def _fit(trainer: Trainer, run: Path, say: Say, *, changed: bool = False) -> Result:
    try:
        result = _fit_and_tell(trainer, run, say, changed=changed)
    except (CollapseError, DivergenceError, Interrupted):  # on which all processes agree
        trainer.shut_down(together=True)  # a process that ends makes the launcher end the others, which may still write
        raise
    except BaseException:
        trainer.shut_down(together=False)
        raise
    trainer.shut_down(together=True)
    return result


def _fit_and_tell(trainer: Trainer, run: Path, say: Say, *, changed: bool) -> Result:
    if not trainer.is_main_process:
        fit(trainer, run, None)
        return {}
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
            if changed:  # in the checkpoint first, from which it is also rolled back
                checkpoint.save(run, trainer.checkpoint())
            write_atomically(run / checkpoint.CONFIG_NAME, configuration.dumps(trainer.config).encode())
            monitor = Monitor(trainer.config, trainer.data, trainer.task, trainer.device)
            evaluating = trainer.config.diagnostics.evaluate_every_samples > 0
            evaluator = Evaluator(trainer.config, trainer.data, trainer.device) if evaluating else None
            with (
                Trackers(run, trainer.config) as followed,
                RunLogger(
                    run,
                    total_samples=pace.total_samples,
                    samples_seen=trainer.samples_seen,
                    batch_size=pace.batch_size,
                    recorded=trainer.recorded,
                    trackers=followed,
                ) as recorder,
            ):
                monitor.replay(rows(run))
                fit(trainer, run, Observers(recorder, monitor, evaluator))
        except OSError as error:
            raise CheckpointError(f"cannot write into {run}: {error.strerror}; its checkpoints are complete") from error
        except (CollapseError, DivergenceError):
            _report(run, say)
            raise
    reported = _report(run, say)
    say(f"{run} is complete at {trainer.samples_seen:,} samples")
    return {"run": str(run), "samples": trainer.samples_seen, **reported}


def _report(run: Path, say: Say) -> Result:
    page, findings = report.write(run)
    names = [finding.name for finding in findings]
    say(f"{page}: {', '.join(names)}")
    return {"report": str(page), "findings": names}


def _begin(config: Config, history: Sequence[Change], init: Path | None, say: Say) -> Trainer:
    """Make the trainer of a new run; refuse data that no package could hold."""
    origin = None if init is None else transfer.find(init)
    loaded: Data = data.load(config.data)
    limits.check(config, loaded)
    trainer = Trainer(config, loaded, history=history)
    left = [] if origin is None else transfer.begin_from(trainer, origin)
    for line in left if trainer.is_main_process else ():
        say(f"not taken: {line}")
    return trainer


def _introduce(trainer: Trainer, say: Say) -> None:
    """Print what is trained on what, how the data was read, and warnings."""
    say(_summary(trainer))
    for note in trainer.data.notes if isinstance(trainer.data, ImageData) else ():
        say(f"  {note}")
    for change in trainer.history:
        say(f"  {f'at sample {change.samples:,}: ' if change.samples else ''}{change.text}")
    for doubt in configuration.warnings_of(trainer.config):
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
