"""Checkpoints: the state from which a run resumes exactly, and the networks that export and diagnosis load.

    RUN/config.toml                 the configuration, every default filled in
    RUN/checkpoints/000064000.pt    after so many samples; the two newest are kept
    RUN/best/000032000.pt           that with the best samples, where they are measured while the run trains

A checkpoint holds tensors and plain values only, so reading one never runs code from it. It is written whole or not at
all: a full disk or a killed process leaves the former ones as they were.
"""

import io
import math
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NotRequired, TypedDict, cast

import torch
from torch import Tensor, nn

from training import config as configuration
from training.config import Config
from training.errors import CheckpointError
from training.files import write_atomically
from training.networks.base import Task
from training.state import players
from training.state.best import Measured, lowest, measurements
from training.state.history import Change, rows
from training.state.players import Players, Side

FORMAT: Final = 3
KEPT: Final = 2  # the newest, and the one before in case the newest is unreadable
CONFIG_NAME: Final = "config.toml"
FOLDER: Final = "checkpoints"
SAMPLES_DIGITS: Final = 12  # in file names, so that their order as text is their order in time

Choice = int | Literal["newest", "best"]  # of a checkpoint: a number of samples, or a word
BEST_FOLDER: Final = "best"


class TrainerState(TypedDict):
    """Everything that the future of a run depends on, as tensors and plain values.

    Attributes:
        samples_seen: training time; the position in the data and in every random stream follows from it.
        generator_side: weights and buffers of the generator and of an encoder.
        critic_side: weights and buffers of the discriminator and of a code head.
        ema: weights and buffers of the averaged generator side.
        scaler: the loss scale of fp16; empty otherwise.
        augmentation: its probability and accumulated signs; empty where it has no state.
        unlogged: readings since the last row of the log, [steps] each, by name.
        rollbacks: the events of those so far; each halves the learning rates.
        random: states of Python's, NumPy's, torch's and CUDA's global generators, for layers and objectives using them.
    """

    samples_seen: int
    generator_side: dict[str, Tensor]
    critic_side: dict[str, Tensor]
    ema: dict[str, Tensor]
    generator_optimizer: dict[str, object]
    critic_optimizer: dict[str, object]
    scaler: dict[str, object]
    augmentation: dict[str, float]
    unlogged: dict[str, Tensor]
    rollbacks: list[dict[str, Any]]
    random: dict[str, object]


class Checkpoint(TypedDict):
    """A state and what it belongs to.

    Attributes:
        config: the configuration as TOML, to name a difference.
        task: what the networks were built to fit.
        machine: names and versions of the device and the libraries; older files lack it.
        history: the changes of the run so far, as plain values; older files lack it.
        data_samples: how many samples are trained on; older files lack it.
        label_names: of the data's classes; older files lack it.
        fingerprints: int64 [N, 2] of the data's images, held-out ones included, None where they have no names; older
            files lack it.
    """

    format: int
    config_sha256: str
    config: str
    data_sha256: str
    task: dict[str, Any]
    machine: NotRequired[dict[str, str]]
    history: NotRequired[list[dict[str, Any]]]
    data_samples: NotRequired[int]
    label_names: NotRequired[list[str]]
    fingerprints: NotRequired[Tensor | None]
    state: TrainerState


@dataclass(frozen=True)
class Run:
    """Trained networks, on the CPU and in evaluation mode.

    Attributes:
        data_sha256: hash of the data it was trained on.
        samples_seen: training time of the checkpoint.
        history: the changes of the run so far.
        players: with the weights of the last step.
        ema: the generator's side with the moving average of its weights, the one to use.
        best: what the best checkpoint was measured by; None for one that was not chosen so.
    """

    config: Config
    config_sha256: str
    data_sha256: str
    samples_seen: int
    history: tuple[Change, ...]
    task: Task
    players: Players
    ema: Side
    best: Measured | None = None

    @property
    def generator(self) -> nn.Module:
        """The averaged generator."""
        return self.ema[players.GENERATOR]

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator."""
        return self.players.discriminator


def save(run: Path, checkpoint: Checkpoint) -> Path:
    """Add a checkpoint to a run and drop the oldest ones.

    Raises:
        CheckpointError: if it cannot be written; the former checkpoints are untouched.
    """
    path = _write(run, FOLDER, checkpoint)
    for old in _paths(run)[:-KEPT]:
        old.unlink()
    _drop_beaten(run)
    return path


def save_best(run: Path, checkpoint: Checkpoint) -> Path:
    """Keep a checkpoint as the best one so far; its row is in the log.

    Raises:
        CheckpointError: as `save`.
    """
    path = _write(run, BEST_FOLDER, checkpoint)
    _drop_beaten(run)
    return path


def forget_best_after(run: Path, samples_seen: int) -> None:
    """Drop best checkpoints of a future that a run does not take, since it goes back."""
    for path in _best_paths(run):
        if int(path.stem) > samples_seen:
            path.unlink()


def find_best(run: Path) -> tuple[Path, Measured] | None:
    """Find the best checkpoint of a run, with what it was measured by; None where there is none."""
    kept = {int(path.stem): path for path in _best_paths(run)}
    found = lowest(each for each in measurements(rows(run)) if each.samples in kept)
    return None if found is None else (kept[found.samples], found)


def _drop_beaten(run: Path) -> None:
    """Keep the best checkpoint, and the best up to each checkpoint that the run may still go back to."""
    measured = measurements(rows(run))
    ends = [math.inf, *(int(path.stem) for path in _paths(run))]
    wanted = {found.samples for end in ends if (found := lowest(measured, end)) is not None}
    for path in _best_paths(run):
        if int(path.stem) not in wanted:
            path.unlink()


def _write(run: Path, place: str, checkpoint: Checkpoint) -> Path:
    folder = run / place
    path = folder / f"{checkpoint['state']['samples_seen']:0{SAMPLES_DIGITS}d}.pt"
    content = io.BytesIO()  # through memory, because torch reports a full disk as an internal error
    torch.save(checkpoint, content)
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        kept = _paths(run)
        rest = f"; {kept[-1]} is complete" if kept else ""
        raise CheckpointError(f"cannot write the checkpoint {path}: {os.strerror(error.errno or 0)}{rest}") from error
    return path


def latest(run: Path) -> Path | None:
    """Find the newest checkpoint of a run.

    Returns:
        Its path, or None where there is none yet.
    """
    paths = _paths(run)
    return paths[-1] if paths else None


def find(run: Path, choice: Choice) -> Path:
    """Find a checkpoint of a run.

    Args:
        choice: which one.

    Raises:
        CheckpointError: if there is no such checkpoint.
    """
    paths = _paths(run)
    if not paths:
        raise CheckpointError(f"{run} has no checkpoint; a run starts with `python -m training train`")
    if choice == "newest":
        return paths[-1]
    if choice == "best":
        found = find_best(run)
        if found is None:
            raise CheckpointError(
                f"{run} keeps no best checkpoint: [diagnostics] evaluate_every_samples, which finds it, is 0 or has "
                "measured nothing yet; use --checkpoint newest"
            )
        return found[0]
    chosen = [path for path in paths if int(path.stem) == choice]
    if not chosen:
        kept = ", ".join(str(int(path.stem)) for path in paths)
        raise CheckpointError(f"{run} keeps no checkpoint of sample {choice}; it has those of {kept}")
    return chosen[0]


def read(run: Path, choice: Choice = "newest") -> Checkpoint:
    """Read a checkpoint of a run.

    Args:
        choice: which one.

    Returns:
        The checkpoint, on the CPU.

    Raises:
        CheckpointError: if there is none, it is damaged, or the run's configuration is no longer the one it was
            written under.
    """
    path = find(run, choice)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        former = _paths(run)[:-1]
        way_on = f"delete it to go on from {former[-1].name}" if former else "it is the only one"
        way_on = "use --checkpoint newest" if choice == "best" else way_on
        raise CheckpointError(f"{path} is damaged; {way_on}") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}")
    _check_config(run, cast("Checkpoint", checkpoint), newest=path == latest(run))
    return cast("Checkpoint", checkpoint)


def load_run(run: Path, choice: Choice = "newest") -> Run:
    """Load the networks of a run's checkpoint.

    Args:
        choice: which one.

    Returns:
        The networks with the run's metadata.

    Raises:
        CheckpointError: as `read`.
        ConfigError: if the run's configuration cannot be read.
    """
    checkpoint = read(run, choice)
    found = find_best(run) if choice == "best" else None
    config = config_of(run, checkpoint)
    state, task = checkpoint["state"], Task(**checkpoint["task"])
    trained, averaged = players.build(config, task), players.build(config, task).generator_side
    for side, weights in (
        (trained.generator_side, state["generator_side"]),
        (trained.critic_side, state["critic_side"]),
        (averaged, state["ema"]),
    ):
        side.load_state_dict(weights)
        side.eval().requires_grad_(False)
    return Run(
        config=config,
        config_sha256=configuration.sha256(config),
        data_sha256=checkpoint["data_sha256"],
        samples_seen=state["samples_seen"],
        history=changes_of(checkpoint),
        task=task,
        players=trained,
        ema=averaged,
        best=None if found is None else found[1],
    )


def config_of(run: Path, checkpoint: Checkpoint) -> Config:
    """The configuration of a checkpoint that `read` has returned, with the data's path of the run's file.

    The length is the checkpoint's: an older one may have been written before the run was given another.
    """
    former = configuration.loads(checkpoint["config"])
    return configuration.with_length(configuration.load(run / CONFIG_NAME), former.trainer.total_samples)


def changes_of(checkpoint: Checkpoint) -> tuple[Change, ...]:
    """The changes of a run up to a checkpoint."""
    return tuple(Change(**change) for change in checkpoint.get("history", []))


def _paths(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("*.pt"))


def _best_paths(run: Path) -> list[Path]:
    return sorted((run / BEST_FOLDER).glob("*.pt"))


def _check_config(run: Path, checkpoint: Checkpoint, *, newest: bool) -> None:
    path = run / CONFIG_NAME
    config = configuration.load(path)
    former = configuration.loads(checkpoint["config"])  # with current defaults for keys added after the run
    length, was = config.trainer.total_samples, former.trainer.total_samples
    difference = configuration.first_difference(configuration.with_length(config, was), former)
    if difference is not None:
        raise CheckpointError(f"{path}: {difference} when the run began; put it back, or train anew with another --out")
    # A changed length is in the checkpoint first: a process that is killed between both writes leaves the former one.
    changed = any(
        change.event == "total_samples" and change.details["was"] == length for change in changes_of(checkpoint)
    )
    if newest and length != was and not changed:
        raise CheckpointError(
            f"{path}: [trainer] total_samples is {length} and was {was} when the run began; put it back, and "
            f"`python -m training resume {run} --total-samples {length}` changes it"
        )
