"""Sends a run's rows and grids to experiment trackers, by Accelerate's own classes for them.

    RUN/metrics.jsonl row ──▶ wandb, x axis `samples`      mlflow, step = samples
    RUN/grids/….png       ──▶ an image `grids`             an artifact in `grids/`

RUN/trackers.json keeps the run's id at each tracker, so that a resumed run goes on there. TensorBoard's curves are
written by the run logger in any case. A tracker draws no random numbers of the run's, and one that fails while the run
trains is left out from then on: nothing that is trained depends on it.
"""

import importlib.util
import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from accelerate.tracking import LOGGER_TYPE_TO_CLASS
from PIL import Image
from tqdm import tqdm

from training import config as configuration
from training.config import Config
from training.errors import ConfigError
from training.files import write_atomically
from training.loop.setup import global_generators, restore_global_generators
from training.schedule import BUILT_IN

FILE_NAME: Final = "trackers.json"
PACKAGES: Final = {"wandb": "wandb", "mlflow": "mlflow"}
GRIDS: Final = "grids"
MLFLOW_PLACE: Final = "MLFLOW_TRACKING_URI"


def check(config: Config) -> None:
    """Make sure that the trackers of a configuration are installed.

    Raises:
        ConfigError: with the package to install.
    """
    for name in _wanted(config):
        if importlib.util.find_spec(name) is None:
            raise ConfigError(
                f"[trainer] trackers names {name}, which is not installed: pip install {PACKAGES[name]}, or the extra "
                "'ganymede-gan[trackers]' for all of them"
            )


class Trackers:
    """A run at its trackers. Use as a context manager, in the main process alone.

    Args:
        run: the run's folder.
        config: its name is the project's, its keys are the run's parameters.

    Raises:
        ConfigError: if a tracker is not installed or cannot be started.
    """

    def __init__(self, run: Path, config: Config) -> None:
        check(config)
        self._run, self._config = run, config
        self._open: dict[str, Any] = {}
        self._names_a_place = MLFLOW_PLACE not in os.environ

    def __enter__(self) -> "Trackers":
        """Start or go on at every tracker."""
        known = _known(self._run)
        for name in _wanted(self._config):
            try:
                with _untouched_generators():
                    self._open[name] = tracker = _start(name, self._run, self._config, known.get(name))
                    if name not in known:
                        tracker.store_init_configuration(_parameters(self._config))
                        known[name] = _id_of(name, tracker)
            except Exception as error:
                self.__exit__()
                raise ConfigError(f"[trainer] trackers: {name} cannot be started: {_words(error)}") from error
        if self._open:
            write_atomically(self._run / FILE_NAME, (json.dumps(known, indent=2) + "\n").encode())
        return self

    def __exit__(self, *_: object) -> None:
        """Finish at every tracker."""
        for name in list(self._open):
            self._tell(name, lambda tracker: tracker.finish())
        self._open.clear()
        if self._names_a_place:  # MLflow keeps it in the environment, where the next run would find it
            os.environ.pop(MLFLOW_PLACE, None)

    def log(self, samples_seen: int, row: dict[str, float]) -> None:
        """Send one row of the log."""
        for name in list(self._open):
            self._tell(name, partial(_send_row, name, samples_seen, row))

    def grid(self, samples_seen: int, path: Path) -> None:
        """Send a grid of samples.

        Args:
            path: of its PNG.
        """
        for name in list(self._open):
            self._tell(name, partial(_send_picture, name, samples_seen, path))

    def _tell(self, name: str, call: Callable[[Any], None]) -> None:
        try:
            with _untouched_generators():
                call(self._open[name])
        except Exception as error:  # noqa: BLE001 - whatever a tracker raises, the training goes on
            with suppress(Exception):
                self._open.pop(name).finish()
            words = f"note: {name} failed and is left out from now on; RUN/metrics.jsonl has every row: {_words(error)}"
            tqdm.write(words, file=sys.stderr)


def _wanted(config: Config) -> Sequence[str]:
    """The trackers beside the built-in one, each once, in order."""
    return [name for name in dict.fromkeys(config.trainer.trackers) if name != BUILT_IN]


def _known(run: Path) -> dict[str, str]:
    """Ids of the run, by tracker; none where the file is missing or damaged."""
    try:
        known = json.loads((run / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _start(name: str, run: Path, config: Config, known: str | None) -> Any:  # noqa: ANN401 - Accelerate has no types
    title = run.resolve().name
    if name == "wandb":
        chosen = known or secrets.token_hex(4)
        tracker = LOGGER_TYPE_TO_CLASS[name](config.name, id=chosen, resume="allow", name=title, dir=str(run))
        tracker.start()
        tracker.tracker.define_metric("*", step_metric="samples")
        return tracker
    import mlflow  # noqa: PLC0415 - an optional package

    if MLFLOW_PLACE not in os.environ:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow prefers a database, which needs more packages
        mlflow.set_tracking_uri((run / "mlflow").resolve().as_uri())
    tracker = LOGGER_TYPE_TO_CLASS[name](config.name, run_id=known, run_name=title)
    tracker.start()
    return tracker


def _id_of(name: str, tracker: Any) -> str:  # noqa: ANN401 - Accelerate has no types
    return str(tracker.tracker.id if name == "wandb" else tracker.tracker.info.run_id)


def _send_row(name: str, samples_seen: int, row: dict[str, float], tracker: Any) -> None:  # noqa: ANN401 - as above
    if name == "wandb":  # without a step: W&B drops what a run that goes back logs at an earlier one
        tracker.log({"samples": samples_seen, **row})
    else:
        tracker.log(row, step=samples_seen)


def _send_picture(name: str, samples_seen: int, path: Path, tracker: Any) -> None:  # noqa: ANN401 - as above
    if name == "wandb":
        tracker.log({"samples": samples_seen}, commit=False)  # one row with the picture
        with Image.open(path) as picture:
            tracker.log_images({GRIDS: [picture.copy()]})
    else:
        tracker.log_artifact(str(path), artifact_path=GRIDS)


def _parameters(config: Config) -> dict[str, str | int | float | bool]:
    """The keys of a configuration by `table/key`, without the data's place."""
    tables = configuration.to_tables(config)
    tables["data"].pop("path", None)
    return {
        f"{table}/{key}" if table else key: value if isinstance(value, str | int | float | bool) else json.dumps(value)
        for table, keys in tables.items()
        for key, value in keys.items()
    }


def _words(error: Exception) -> str:
    """The first sentence of an error."""
    return str(error).strip().split("\n")[0] or type(error).__name__


@contextmanager
def _untouched_generators() -> Iterator[None]:
    """Keep the global random generators as they are."""
    states = global_generators()
    try:
        yield
    finally:
        restore_global_generators(states)
