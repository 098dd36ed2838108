"""Evaluates a run's or a package's samples, for `python -m training evaluate`.

A run is exported in memory first, so that both are measured on the graph that is served.
"""

import json
from pathlib import Path

from training import config as configuration
from training import data as sources
from training.config import Config
from training.data import Data, ImageData
from training.errors import ExportError
from training.export import export, quality
from training.export.graphs.features import ExtractorFile, OnnxExtractor
from training.export.graphs.interface import interface
from training.export.graphs.pair import Say, build
from training.export.graphs.runtime import Graph
from training.export.manifest import ENCODER, FILE_NAME, GENERATOR
from training.export.quality import Quality


def measure(place: Path, say: Say, data_path: str | None = None, features: ExtractorFile | None = None) -> Quality:
    """Evaluate a run or a package.

    Args:
        place: a run's folder, or a package's.
        data_path: where the data lies now, if it has moved.
        features: a user's feature extractor for images.

    Raises:
        TrainingError: if the run, the package, the data or the features cannot be read, or such samples cannot be
            measured; before anything is computed.
    """
    if (place / FILE_NAME).is_file():
        generator, encoder, config, data = _package(place, data_path)
        judge = _judge(features, data)
    else:
        trained, data = export.load(place, data_path)
        config, judge = trained.config, _judge(features, data)
        pair = build(trained, data, say)
        generator, encoder = pair.generator, pair.encoder
    found = quality.measure(generator, interface(config, data), config, data, say, judge, encoder=encoder)
    if found is None:
        raise ExportError(f"there is nothing to measure samples of {data.name} with")
    return found


def as_text(found: Quality) -> list[str]:
    """Format the figures as lines of Markdown."""
    return [found.told, "", *found.table, *(line for limit in found.limits for line in ("", limit))]


def document(found: Quality) -> dict[str, object]:
    """The figures as `--json` prints them and a manifest keeps them."""
    return {found.subject: found.figures}


def _judge(features: ExtractorFile | None, data: Data) -> OnnxExtractor | None:
    if features is None:
        return None
    if not isinstance(data, ImageData):
        raise ExportError(f"--features judges images, and {data.name} holds none")
    return OnnxExtractor(features, data.image_shape)


def _package(package: Path, data_path: str | None) -> tuple[Graph, Graph | None, Config, Data]:
    """Read the graphs that are measured, the configuration and the data of a package that this project wrote."""
    manifest = json.loads((package / FILE_NAME).read_text(encoding="utf-8"))
    provenance = manifest["provenance"]
    config = configuration.from_tables(provenance["config"])
    if data_path is not None:
        config = configuration.with_data_path(config, data_path)
    data = sources.load(config.data)
    if data.sha256 != provenance["data"]["sha256"]:
        raise ExportError(f"{package} was trained on other data than {data.name} as it is now")
    encoder = package / ENCODER
    return (
        Graph((package / GENERATOR).read_bytes()),
        Graph(encoder.read_bytes()) if encoder.is_file() else None,
        config,
        data,
    )
