"""Changes of a run that goes on: another length, other data. Each is allowed only where it is asked for, and recorded.

    checkpoint + option ──▶ refused in one sentence, or: what the rest of the run is computed with, and the change

From the change on a step is a function of its number, the new length and the new data, so that a run that was changed,
killed and resumed ends as one that was changed only.
"""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from training import config as configuration
from training.config import Config
from training.data import Data
from training.data.image_data import Dataset, Difference, what_changed
from training.data.interaction_data import InteractionData
from training.errors import CheckpointError
from training.networks.base import Task
from training.objectives.base import TIMED_WEIGHTS
from training.schedule import cosine
from training.state import players
from training.state.checkpoint import Checkpoint
from training.state.history import Change

UNKNOWN = "an unknown number of"  # in checkpoints before 0.10.0


def with_length(config: Config, saved: Checkpoint, run: Path, total_samples: int) -> tuple[Config, Change | None]:
    """Change the length of a run.

    Args:
        config: of the run so far.
        total_samples: the new length.

    Returns:
        The new configuration, and the change; the same one and None where the length is the same.

    Raises:
        CheckpointError: if the run has seen more samples.
    """
    seen, former = saved["state"]["samples_seen"], config.trainer.total_samples
    if total_samples == former:
        return config, None
    if total_samples < seen:
        raise CheckpointError(
            f"{run} has seen {seen:,} samples, more than --total-samples {total_samples:,}; training is not undone: "
            f"choose {seen:,} or more"
        )
    changed = configuration.with_length(config, total_samples)
    before, after = _scheduled(config, seen), _scheduled(changed, seen)
    moved = [f"{name} from {before[name]:.4g} to {after[name]:.4g}" for name in before if before[name] != after[name]]
    jump = f"which takes {', '.join(moved)}" if moved else "which changes none of their values here"
    text = (
        f"total_samples set from {former:,} to {total_samples:,}: every schedule is from here on that of a run of "
        f"{total_samples:,} samples, {jump}"
    )
    details = {"was": former, "now": total_samples, "before": before, "after": after}
    return changed, Change(seen, "total_samples", text, details)


def _scheduled(config: Config, samples_seen: int) -> dict[str, float]:
    """What follows a schedule, at the next step."""
    pace, game = config.trainer, config.objective
    progress = min(samples_seen / pace.total_samples, 1.0)
    left = cosine(1.0, pace.learning_rate_final_fraction, progress)
    now = game.at(progress, 0)  # lazy penalties are due in step 0, times the number of steps that they stand for
    weights = {
        name: float(getattr(now, name)) / (game.penalty_every_steps if name.startswith("gamma") else 1)
        for name in TIMED_WEIGHTS
        if hasattr(now, name)
    }
    rates = {
        "the generator's learning rate": pace.learning_rate_generator * left,
        "the discriminator's learning rate": pace.learning_rate_discriminator * left,
    }
    half_life = pace.ema_half_life_samples * cosine(pace.ema_half_life_start_fraction, 1.0, progress)
    memory = {} if pace.beta2_start == "constant" else {"beta2": cosine(pace.beta2_start, pace.beta2, progress)}
    return rates | weights | memory | {"ema_half_life_samples": half_life}


def with_data(config: Config, saved: Checkpoint, run: Path, data: Data, *, allowed: bool) -> Change | None:
    """Compare the data of a run with that of its checkpoint.

    Args:
        data: to go on with.
        allowed: whether it may differ.

    Returns:
        The change; None where the data is the same.

    Raises:
        CheckpointError: if it differs, and may not, or does not fit the networks.
    """
    former = saved["data_sha256"]
    if data.sha256 == former:
        return None
    difference = _difference(saved, data)
    if not allowed:
        found = "" if difference is None else f"{_words(difference)}; "
        raise CheckpointError(
            f"{run} was trained on other data: {found}its SHA-256 was {former} and is {data.sha256}; if that is meant, "
            f"`python -m training resume {run} --data-changed` goes on with the new data, and records it"
        )
    if isinstance(data, InteractionData):
        raise CheckpointError(f"{run} draws items for users, whose pairs are part of its networks; train it anew")
    _check_fit(config, saved, run, data)
    seen, count = saved["state"]["samples_seen"], len(data.train)
    counted = saved.get("data_samples")
    known = UNKNOWN if counted is None else f"{counted:,}"
    found = "" if difference is None else f" ({_words(difference)})"
    text = (
        f"data changed from {known} samples to {count:,}{found}, and its SHA-256 from {former} to {data.sha256}: a new "
        "epoch begins here"
    )
    details = {
        "was": {"sha256": former, "samples": counted},
        "now": {"sha256": data.sha256, "samples": count, "held_out": len(data.held_out)},
        "position": seen * config.trainer.critic_steps,
        **({} if difference is None else {"images": asdict(difference)}),
    }
    return Change(seen, "data", text, details)


def first_position(history: Iterable[Change]) -> int:
    """The position in the real samples of a run at which its current data began."""
    return max((cast("int", change.details["position"]) for change in history if change.event == "data"), default=0)


def _check_fit(config: Config, saved: Checkpoint, run: Path, data: Data) -> None:
    """Refuse data that the networks were not made for."""
    made, needed = Task(**saved["task"]), players.task(config, data)
    if tuple(made.sample_shape) != tuple(needed.sample_shape):
        raise CheckpointError(
            f"the networks of {run} are for samples of {_shape(made)}, and the new data has {_shape(needed)}; begin a "
            "new run with `train --init`, which takes the parts that fit"
        )
    if made.classes != needed.classes:
        raise CheckpointError(
            f"the networks of {run} are for {made.classes} classes, and the new data has {needed.classes}; begin a new "
            "run with `train --init`, which takes the parts that fit"
        )
    names, new_names = saved.get("label_names"), label_names(data)
    if needed.classes and names is not None and names != new_names:
        number = next(place for place, name in enumerate(names) if name != new_names[place])
        raise CheckpointError(
            f'class {number} of {run} is "{names[number]}", and in the new data it is "{new_names[number]}"; name '
            "the folders of the classes so that they keep their order"
        )


def fingerprints(data: Dataset) -> Tensor | None:
    """Fingerprints of the images of a data set, as a checkpoint keeps them: int64 [N, 2]; None without names."""
    found = getattr(data, "fingerprints", None)
    return None if found is None else torch.from_numpy(found.view(np.int64))


def _difference(saved: Checkpoint, data: Data) -> Difference | None:
    """What happened to the images of a checkpoint; None where they have no names, then or now."""
    before, after = saved.get("fingerprints"), fingerprints(data)
    return None if before is None or after is None else what_changed(before.numpy(), after.numpy())


def _words(difference: Difference) -> str:
    return f"{difference}{'' if any(asdict(difference).values()) else ', labelled or read otherwise'}"


def label_names(data: Dataset) -> list[str]:
    """Names of the classes of a data set; none where it has no classes."""
    return list(getattr(data, "label_names", None) or ())


def _shape(task: Task) -> str:
    return "x".join(map(str, task.sample_shape))
