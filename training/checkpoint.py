"""Checkpoints: what a run needs to go on exactly, and what others need to read from it.

    RUN/config.toml                 the configuration, every default filled in
    RUN/checkpoints/000064000.pt    after so many samples; the two newest are kept

A checkpoint holds tensors and plain values only, so reading one never runs code from it. It is written whole or not at
all: a full disk or a killed process leaves the former ones as they were.
"""

import io
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict, cast

import torch
from torch import Tensor

from training import config as configuration
from training.config import Config
from training.errors import CheckpointError
from training.files import write_atomically
from training.networks.dcgan import Discriminator, Generator

FORMAT: Final = 1
KEPT: Final = 2  # the newest, and the one before in case the newest turns out to be unreadable
CONFIG_NAME: Final = "config.toml"
FOLDER: Final = "checkpoints"
SAMPLES_DIGITS: Final = 12  # in file names, so that their order as text is their order in time


class TrainerState(TypedDict):
    """Everything that the future of a run depends on, as tensors and plain values.

    Attributes:
        samples_seen: training time; the position in the data and in every random stream follows from it.
        generator: weights and buffers.
        discriminator: weights and buffers.
        ema: the averaged generator's weights and buffers.
        generator_optimizer: Adam's moments and steps.
        discriminator_optimizer: likewise.
        scaler: the loss scale of fp16; empty otherwise.
        unlogged: readings since the last row of the log, [steps] each, by name.
        random: states of Python's, NumPy's, torch's and CUDA's global generators, for layers and objectives using them.
    """

    samples_seen: int
    generator: dict[str, Tensor]
    discriminator: dict[str, Tensor]
    ema: dict[str, Tensor]
    generator_optimizer: dict[str, object]
    discriminator_optimizer: dict[str, object]
    scaler: dict[str, object]
    unlogged: dict[str, Tensor]
    random: dict[str, object]


class Checkpoint(TypedDict):
    """A state and what it belongs to.

    Attributes:
        format: of this file.
        config_sha256: of the run's configuration.
        config: the configuration as TOML, to name a difference.
        data_sha256: of the data's content.
        image_shape: C, H, W of the data.
        state: the trainer's.
    """

    format: int
    config_sha256: str
    config: str
    data_sha256: str
    image_shape: tuple[int, int, int]
    state: TrainerState


@dataclass(frozen=True)
class Run:
    """A trained pair, on the CPU and in evaluation mode.

    Attributes:
        config: of the run.
        config_sha256: its hash.
        data_sha256: hash of the data it was trained on.
        samples_seen: training time of the checkpoint.
        generator: with the weights of the last step.
        ema: with the moving average of the weights, the one to use.
        discriminator: with the weights of the last step.
    """

    config: Config
    config_sha256: str
    data_sha256: str
    samples_seen: int
    generator: Generator
    ema: Generator
    discriminator: Discriminator


def save(run: Path, checkpoint: Checkpoint) -> Path:
    """Add a checkpoint to a run and drop the oldest ones.

    Args:
        run: the run's folder.
        checkpoint: what to keep.

    Returns:
        The new file.

    Raises:
        CheckpointError: if it cannot be written; the former checkpoints are untouched.
    """
    folder = run / FOLDER
    path = folder / f"{checkpoint['state']['samples_seen']:0{SAMPLES_DIGITS}d}.pt"
    content = io.BytesIO()  # through memory, because torch reports a full disk as a fault of its own
    torch.save(checkpoint, content)
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(path, content.getvalue())
    except OSError as error:
        kept = _paths(run)
        rest = f"; {kept[-1]} is complete" if kept else ""
        raise CheckpointError(f"cannot write the checkpoint {path}: {os.strerror(error.errno or 0)}{rest}") from error
    for old in _paths(run)[:-KEPT]:
        old.unlink()
    return path


def latest(run: Path) -> Path | None:
    """Find the newest checkpoint of a run.

    Args:
        run: the run's folder.

    Returns:
        Its path, or None where there is none yet.
    """
    paths = _paths(run)
    return paths[-1] if paths else None


def read(run: Path) -> Checkpoint:
    """Read the newest checkpoint of a run.

    Args:
        run: the run's folder.

    Returns:
        The checkpoint, on the CPU.

    Raises:
        CheckpointError: if there is none, it is damaged, or the run's configuration is no longer the one it was
            written under.
    """
    path = latest(run)
    if path is None:
        raise CheckpointError(f"{run} has no checkpoint; a run starts with `python -m training train`")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        former = _paths(run)[:-1]
        way_on = f"delete it to go on from {former[-1].name}" if former else "it is the only one"
        raise CheckpointError(f"{path} is damaged; {way_on}") from error
    if not isinstance(checkpoint, dict) or checkpoint.get("format") != FORMAT:
        raise CheckpointError(f"{path} is not a checkpoint of format {FORMAT}")
    _check_config(run, cast("Checkpoint", checkpoint))
    return cast("Checkpoint", checkpoint)


def load_run(run: Path) -> Run:
    """Load the networks of a run's newest checkpoint.

    Args:
        run: the run's folder.

    Returns:
        The networks and where they come from.

    Raises:
        CheckpointError: as `read`.
        ConfigError: if the run's configuration cannot be read.
    """
    checkpoint = read(run)
    config = configuration.load(run / CONFIG_NAME)
    state, shape = checkpoint["state"], checkpoint["image_shape"]

    def generator(weights: dict[str, Tensor]) -> Generator:
        network = Generator(config.generator, shape)
        network.load_state_dict(weights)
        return network.eval().requires_grad_(False)

    discriminator = Discriminator(config.discriminator, shape)
    discriminator.load_state_dict(state["discriminator"])
    return Run(
        config=config,
        config_sha256=checkpoint["config_sha256"],
        data_sha256=checkpoint["data_sha256"],
        samples_seen=state["samples_seen"],
        generator=generator(state["generator"]),
        ema=generator(state["ema"]),
        discriminator=discriminator.eval().requires_grad_(False),
    )


def _paths(run: Path) -> list[Path]:
    return sorted((run / FOLDER).glob("*.pt"))


def _check_config(run: Path, checkpoint: Checkpoint) -> None:
    path = run / CONFIG_NAME
    config = configuration.load(path)
    if configuration.sha256(config) == checkpoint["config_sha256"]:
        return
    former = configuration.loads(checkpoint["config"])
    raise CheckpointError(
        f"{path}: {configuration.first_difference(config, former)} when the run began; "
        "put it back, or train anew with another --out"
    )
