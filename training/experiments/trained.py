"""Trains or resumes one seed's run of a shipped configuration, and exports its graphs.

An interrupted attempt is resumed, with the same result to the bit.
"""

from dataclasses import replace
from pathlib import Path

from training import config as configuration
from training import keys
from training.config import Config
from training.data import Data
from training.experiments.base import Setting
from training.export import export
from training.export.graphs.pair import Pair, build
from training.loop import run
from training.state import checkpoint
from training.state.checkpoint import Run


def trained(name: str, setting: Setting) -> Path:
    """Train a configuration to its end with a setting's seed.

    Args:
        name: stem of a shipped configuration.

    Returns:
        The run's folder, `run` within the setting's.

    Raises:
        TrainingError: as the data, the configuration and the training raise it.
    """
    return completed(configured(name, setting), setting.folder / "run", setting)


def configured(name: str, setting: Setting) -> Config:
    """Load a shipped configuration with a setting's seed and data path.

    Args:
        name: stem of the configuration.

    Raises:
        ConfigError: if there is none of that name, or the setting has a data path and the kind of data has none.
    """
    config = replace(configuration.load(keys.find(name)), seed=setting.seed)
    return config if setting.data_path is None else configuration.with_data_path(config, setting.data_path)


def completed(config: Config, folder: Path, setting: Setting) -> Path:
    """Train a configuration to its end, resuming an earlier attempt.

    Raises:
        TrainingError: as the data and the training raise it.
    """
    if checkpoint.latest(folder) is None:
        run.start(config, folder, setting.say)
    elif checkpoint.read(folder)["state"]["samples_seen"] < config.trainer.total_samples:
        run.resume(folder, setting.say, setting.data_path)
    return folder


def exported(folder: Path, setting: Setting) -> tuple[Pair, Run, Data]:
    """Export the graphs of a run, as its package would have them.

    Returns:
        The checked graphs, the networks and the data.

    Raises:
        TrainingError: if the run cannot be read, or a graph would not be faithful.
    """
    networks, data = export.load(folder, setting.data_path)
    return build(networks, data, setting.say), networks, data
