"""How good a run's or a package's samples are: the table of `python -m training evaluate`.

A run is exported in memory first, so that both are measured through the graph that would be served.
"""

import json
from pathlib import Path

from training import config as configuration
from training import data as sources
from training import export
from training.config import Config
from training.data import Data
from training.errors import ExportError
from training.manifest import FILE_NAME, GENERATOR
from training.packaging import quality
from training.packaging.interface import interface
from training.packaging.pair import Say, build
from training.packaging.runtime import Graph


def measure(place: Path, say: Say, data_path: str | None = None) -> None:
    """Evaluate a run or a package and print the table.

    Args:
        place: a run's folder, or a package's.
        say: told of every stage and of the result.
        data_path: where the data lies now, if it has moved.

    Raises:
        TrainingError: if the run, the package or the data cannot be read, or the data has no labels.
    """
    packaged = (place / FILE_NAME).is_file()
    generator, config, data = _package(place, data_path) if packaged else _run(place, data_path, say)
    found = quality.measure(generator, interface(config, data), config, data, say)
    if found is None:
        raise ExportError(f"{data.name} has no labels, so there is no classifier of its own to measure with")
    for line in (found.told, "", *found.table):
        say(line)


def _run(run: Path, data_path: str | None, say: Say) -> tuple[Graph, Config, Data]:
    trained, data = export.load(run, data_path)
    return build(trained, data, say).generator, trained.config, data


def _package(package: Path, data_path: str | None) -> tuple[Graph, Config, Data]:
    """The generator, its configuration and the data, of a package that this project wrote."""
    manifest = json.loads((package / FILE_NAME).read_text(encoding="utf-8"))
    provenance = manifest["provenance"]
    config = configuration.from_tables(provenance["config"])
    if data_path is not None:
        config = configuration.with_data_path(config, data_path)
    data = sources.load(config.data)
    if data.sha256 != provenance["data"]["sha256"]:
        raise ExportError(f"{package} was trained on other data than {data.name} as it is now")
    return Graph((package / GENERATOR).read_bytes()), config, data
