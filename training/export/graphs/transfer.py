"""Begins a new run with the weights of another one, or of a package: what fits is taken, the rest is as drawn.

    RUN or PACKAGE ──▶ its networks ──▶ by player, name and shape ──▶ a trainer before its first step

Optimizers and schedules begin anew. What is taken, and what is not, is said and recorded.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from training.config import Config
from training.errors import CheckpointError
from training.export.graphs import reading
from training.state import checkpoint, players
from training.state.checkpoint import Run
from training.state.history import Change
from training.state.players import Players, Side

OF_THE_DATA = "taken"  # the items that users have taken: a part of the data, not of what was learnt


@dataclass(frozen=True)
class Origin:
    """What a run begins with.

    Attributes:
        title: in words.
        details: for programs; no path of this machine.
    """

    title: str
    details: Mapping[str, object]
    run: Run


class Beginner(Protocol):
    """A trainer before its first step."""

    config: Config
    players: Players
    ema: Side
    history: tuple[Change, ...]


def find(place: Path) -> Origin:
    """Read the networks of a run or a package.

    Raises:
        CheckpointError: if there is neither, or its networks cannot be read.
    """
    if (place / reading.MANIFEST).is_file():
        run, sha256 = reading.read_package(place)
        name, version = place.resolve().parent.name, place.resolve().name
        details = {"package": name, "version": version, "manifest_sha256": sha256, "samples_seen": run.samples_seen}
        return Origin(f"package {name} {version} (SHA-256 of its manifest {sha256})", details, run)
    if not (place / checkpoint.CONFIG_NAME).is_file():
        raise CheckpointError(
            f"{place} is neither the folder of a run nor of a package's version, such as models/mnist/4"
        )
    run = checkpoint.load_run(place)
    sha256 = hashlib.sha256(checkpoint.find(place, "newest").read_bytes()).hexdigest()
    seen = run.samples_seen
    details = {
        "run": run.config.name,
        "checkpoint_sha256": sha256,
        "config_sha256": run.config_sha256,
        "samples_seen": seen,
    }
    return Origin(f"run {run.config.name} at sample {seen:,} (SHA-256 of its checkpoint {sha256})", details, run)


def begin_from(trainer: Beginner, origin: Origin) -> list[str]:
    """Give a trainer the weights that fit, before its first step, and record it.

    Returns:
        What was not taken, one line each.

    Raises:
        CheckpointError: if the generator takes nothing.
    """
    here, there = trainer.players, origin.run.players
    counts, left = {}, list[str]()
    sides = (
        (here.generator_side, there.generator_side, False),
        (trainer.ema, origin.run.ema, True),
        (here.critic_side, there.critic_side, False),
    )
    for side, former, again in sides:
        for player, network in side.players.items():
            kind, former_kind = (_kind(config, player) for config in (trainer.config, origin.run.config))
            if player not in former:
                found, lost = 0, [f"{player}: there is none there"]
            elif kind != former_kind:
                found, lost = 0, [f'{player}: it is of kind "{former_kind}" there and "{kind}" here']
            else:
                found, lost = _take(player, network, former[player])
            if not again:
                counts[player] = {"taken": found, "of": sum(value.numel() for value in network.parameters())}
                left += lost
    if not counts[players.GENERATOR]["taken"]:
        raise CheckpointError(f"nothing of the generator of {origin.title} fits: {'; '.join(left)}")
    shares = ", ".join(f"{player} {count['taken']:,} of {count['of']:,}" for player, count in counts.items())
    text = f"began with the weights of {origin.title}: parameters of {shares}"
    details = {**origin.details, "parameters": counts, "left_out": left}
    trainer.history = (*trainer.history, Change(0, "init", text, details))
    return left


@torch.no_grad()
def _take(player: str, network: nn.Module, former: nn.Module) -> tuple[int, list[str]]:
    """Copy what fits, and return the number of parameters copied, and what does not fit."""
    here, there = (_states(each) for each in (network, former))
    parameters = {name for name, _ in network.named_parameters()}
    count, lost = 0, []
    for name, value in here.items():
        if name not in there:
            lost.append(f"{player}.{name}: there is none there")
        elif there[name].shape != value.shape:
            lost.append(f"{player}.{name}: {_shape(there[name])} there and {_shape(value)} here")
        else:
            value.copy_(there[name])
            count += value.numel() if name in parameters else 0
    return count, lost


def _states(network: nn.Module) -> dict[str, Tensor]:
    return {name: value for name, value in network.state_dict().items() if name.rpartition(".")[2] != OF_THE_DATA}


def _kind(config: Config, player: str) -> str:
    part = getattr(config, player)
    return str(getattr(part, "kind", player))


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a number"
