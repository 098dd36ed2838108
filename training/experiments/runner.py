"""Runs an experiment seed by seed, and keeps the results.

    OUT/ring/seed-0/ … seed-9/     each seed's folder: its runs, and its result once it is finished
    OUT/ring.json                  the row made from them

A finished seed is read back instead of run again. Seeds share nothing, so several processes may work on one row, each
on its own seeds.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from training.errors import CheckpointError, ConfigError
from training.experiments.base import Experiment, Setting
from training.experiments.results import Row, SeedResult, origin, read_row, read_seed, write_row, write_seed
from training.tables import nearest

Say = Callable[[str], None]


def find(name: str, experiments: dict[str, Experiment]) -> Experiment:
    """Find an experiment by its name.

    Args:
        name: such as `ring`.

    Raises:
        ConfigError: if there is none of that name.
    """
    if name not in experiments:
        raise ConfigError(f"there is no experiment {name}{nearest(name, experiments)}")
    return experiments[name]


def reproduce(experiment: Experiment, seeds: Iterable[int], out: Path, data_path: str | None, say: Say) -> Row:
    """Run the seeds that are not finished, and assemble the row.

    Args:
        seeds: at least one.
        data_path: the data's path, if it is not the configurations'.

    Returns:
        The row of all finished seeds in this folder.

    Raises:
        TrainingError: as the experiment raises it, or if the folder cannot be written or holds results of another
            protocol; finished seeds are kept.
    """
    home, file = out / experiment.name, out / f"{experiment.name}.json"
    if file.is_file() and read_row(file).protocol != experiment.protocol:
        raise CheckpointError(f"{file} holds results of another protocol; choose another --out")
    for seed in seeds:
        folder = home / f"seed-{seed}"
        if read_seed(folder) is None:
            _run(experiment, Setting(seed=seed, folder=folder, data_path=data_path, say=say))
        else:
            say(f"{experiment.name}, seed {seed}: read back from {folder}")
    row = Row(
        name=experiment.name,
        system=experiment.system,
        protocol=experiment.protocol,
        paper=experiment.paper,
        targets=experiment.targets,
        shown=experiment.shown,
        seeds=_finished(home),
    )
    write_row(file, row)
    return row


def _run(experiment: Experiment, setting: Setting) -> None:
    try:
        setting.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CheckpointError(f"cannot make {setting.folder}: {error.strerror}") from error
    setting.say(f"{experiment.name}, seed {setting.seed}: begins")
    began_s = time.monotonic()
    metrics = experiment.run(setting)
    seconds = round(time.monotonic() - began_s, 1)
    write_seed(setting.folder, SeedResult(seed=setting.seed, metrics=metrics, seconds=seconds, origin=origin()))
    setting.say(f"{experiment.name}, seed {setting.seed}: finished after {seconds:,.0f} s")


def _finished(home: Path) -> tuple[SeedResult, ...]:
    found = [read_seed(folder) for folder in home.iterdir()]
    return tuple(sorted((result for result in found if result is not None), key=lambda result: result.seed))
