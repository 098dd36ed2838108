"""How good a run's or a package's samples are: the table of `python -m training evaluate`.

A run is exported in memory first, so that both are measured through the graph that would be served.
"""

import json
from pathlib import Path

from training import config as configuration
from training import data, export
from training.data.image_data import ImageData
from training.errors import ExportError
from training.evaluation import classifier, evaluate, reference_images
from training.evaluation.tables import metrics_table
from training.manifest import FILE_NAME, GENERATOR
from training.packaging.draws import Purpose
from training.packaging.pair import Say, build, draw_pixels
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
    generator, latent_size, images = _package(place, data_path) if packaged else _run(place, data_path, say)
    if images.train_labels is None:
        raise ExportError(f"{images.name} has no labels, so there is no classifier of its own to measure with")
    judge = classifier.obtain(images)
    say(f"classifier: {judge.accuracy:.2%} of the held-out images right, weights {judge.sha256}")
    pixels = draw_pixels(generator, latent_size, Purpose.EVALUATION, len(reference_images(images)))
    evaluation = evaluate(pixels, images, judge)
    say(f"samples: {evaluation.samples:,} against {evaluation.held_out:,} held-out images of {images.name}")
    for line in metrics_table(evaluation):
        say(line)


def _run(run: Path, data_path: str | None, say: Say) -> tuple[Graph, int, ImageData]:
    trained, images = export.load(run, data_path)
    pair = build(trained, images, say)
    return pair.generator, pair.latent_size, images


def _package(package: Path, data_path: str | None) -> tuple[Graph, int, ImageData]:
    """The generator, its latent's size and the data, of a package that this project wrote."""
    manifest = json.loads((package / FILE_NAME).read_text(encoding="utf-8"))
    provenance = manifest["provenance"]
    config = configuration.from_tables(provenance["config"])
    if data_path is not None:
        config = configuration.with_data_path(config, data_path)
    images = data.load(config.data)
    if images.sha256 != provenance["data"]["sha256"]:
        raise ExportError(f"{package} was trained on other data than {images.name} as it is now")
    return Graph((package / GENERATOR).read_bytes()), manifest["latent"]["size"], images
