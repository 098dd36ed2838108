"""A run's folder as a record: rows, events, and what its newest checkpoint says when compared with the data.

Reading never changes a run, so it may be examined while it trains.
"""

from pathlib import Path

from training import checkpoint, data
from training import config as configuration
from training.checkpoint import Run
from training.diagnostics import history, inspection
from training.diagnostics.finding import Record
from training.diagnostics.inspection import Inspection
from training.diagnostics.probe import can_probe
from training.errors import CheckpointError, TrainingError


def examine(run: Path, data_path: str | None = None) -> tuple[Record, str | None]:
    """Read what a run remembers.

    Args:
        run: the run's folder.
        data_path: where the data lies now, if it has moved.

    Returns:
        The record, and why its networks could not be compared with the data, if they could not.

    Raises:
        CheckpointError: if there is no run, or its checkpoint is damaged.
        ConfigError: if its configuration cannot be read.
    """
    if not (run / checkpoint.CONFIG_NAME).is_file():
        raise CheckpointError(f"{run} holds no run; a run starts with `python -m training train`")
    config = configuration.load(run / checkpoint.CONFIG_NAME)
    trained = None if checkpoint.latest(run) is None else checkpoint.load_run(run)
    found, reason = (None, "there is no checkpoint yet") if trained is None else _compare(trained, data_path)
    return Record(
        config=config,
        rows=history.rows(run),
        events=history.events(run),
        samples_seen=0 if trained is None else trained.samples_seen,
        inspection=found,
    ), reason


def _compare(trained: Run, data_path: str | None) -> tuple[Inspection | None, str | None]:
    try:
        config = trained.config if data_path is None else configuration.with_data_path(trained.config, data_path)
        source = data.load(config.data)
    except TrainingError as error:
        return None, str(error)
    if source.sha256 != trained.data_sha256:
        return None, f"{source.name} is no longer the data that the run was trained on"
    if not can_probe(source) or len(source.held_out) == 0:
        return None, f"{source.name} has no samples to measure distances to"
    return inspection.inspect(trained, source), None
