"""Plays one game of the comparison: chooses its learning rate, trains a seed, and measures the exported graphs.

    OUT/comparison/GAME/tuning/RATE/     one run for each learning rate; the best one is taken
    OUT/comparison/GAME/seed-0 … 2/      the seeds' runs and results

Rates are compared by the Fréchet distance of their samples to images that were trained on, so that the held-out images
of the table have chosen nothing.
"""

import dataclasses
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from training.data import ImageData
from training.data.image_data import Bytes
from training.diagnostics import report
from training.errors import DataError, DivergenceError
from training.evaluation import classifier, random_convolutions, reference_rows
from training.evaluation.classifier import labels_of
from training.evaluation.distances import Features, frechet_distance, kernel_distance
from training.evaluation.feature_extractors import FeatureExtractor
from training.evaluation.modes import count_modes
from training.evaluation.neighbourhoods import compare
from training.experiments.base import Experiment, Metrics, Setting
from training.experiments.comparison.games import (
    BATCH_SIZE,
    GAMES,
    RATES,
    TOTAL_SAMPLES,
    configured,
)
from training.experiments.trained import completed, exported
from training.export import export
from training.export.calibration import calibrate
from training.export.graphs.export_seeds import Purpose
from training.export.graphs.pair import Pair
from training.files import write_atomically
from training.loop.evaluator import Evaluator
from training.state import history
from training.state.checkpoint import Run
from training.state.history import QUALITY

SEEDS: Final = 3
TUNING: Final = "tuning.json"
TUNING_SEED: Final = 1_000  # of no row
CURVE: Final = "frechet_distance_at_{:06d}"  # the metric's name at a number of samples
FINDING: Final = "finding_"  # what begins the name of a finding of `diagnose`; its value is 1
PROTOCOL: Final = (
    f"{TOTAL_SAMPLES:,} samples in batches of {BATCH_SIZE}; the learning rate of both players is the best of "
    "three (0.001, 0.003 and the next one beyond the better), by distance to images trained on, in runs of the same "
    "length with a seed of their own; then 10,000 quantised samples of the exported graph against MNIST's held-out "
    "images"
)


def play(name: str, setting: Setting) -> Metrics:
    """Train one seed of a game and measure it.

    Args:
        name: of the game.

    Returns:
        Figures of samples and scores, the curve of the Fréchet distance, the learning rate, and 1 for every finding.
    """
    rate = tuned(name, setting)
    folder, diverged = _trained(name, rate, setting)
    pair, _, data = exported(folder, setting)
    figures = _figures(pair, cast("ImageData", data))
    curve = {
        CURVE.format(int(row["samples"])): row[f"{QUALITY}frechet_distance"]
        for row in history.rows(folder)
        if f"{QUALITY}frechet_distance" in row
    }
    _, findings = report.write(folder)
    return {
        "learning_rate": rate,
        "diverged": float(diverged),
        **figures,
        **curve,
        **{f"{FINDING}{finding.name}": 1.0 for finding in findings},
    }


def _figures(pair: Pair, images: ImageData) -> Metrics:
    """Measure the exported graphs: samples by two kinds of features, scores by their calibration."""
    held_out = images.held_out[reference_rows(images)]
    shown = pair.generated(Purpose.EVALUATION, len(held_out))
    samples = shown.samples.astype(np.uint8, copy=False)
    (judge, real), (label_free, plain_real) = _judges(images, held_out)
    features, probabilities = judge.extract(samples)
    plain, _ = label_free.extract(samples)
    modes = count_modes(cast("NDArray[np.float64]", probabilities), labels_of(images)[0])
    calibration = calibrate(pair.logits(pair.real(held_out, None)), pair.logits(shown))
    return {
        "frechet_distance": frechet_distance(features, real),
        "kernel_distance": kernel_distance(features, real),
        "label_free_frechet_distance": frechet_distance(plain, plain_real),
        **dataclasses.asdict(compare(plain, plain_real)),
        "modes": float(modes.captured),
        "kl_to_data": modes.kl_to_data,
        "confident_share": modes.confident_share,
        "calibration_error": calibration.expected_calibration_error,
        "area_under_curve": calibration.area_under_curve,
    }


JUDGES: Final[dict[str, list[tuple[FeatureExtractor, Features]]]] = {}  # by the data's hash: the same for every game


def _judges(images: ImageData, held_out: Bytes) -> list[tuple[FeatureExtractor, Features]]:
    """A classifier and random convolutions, each with its features of the held-out images."""
    if images.sha256 not in JUDGES:
        judges = classifier.obtain(images), random_convolutions.fit(images, len(held_out))
        JUDGES[images.sha256] = [(judge, judge.extract(held_out)[0]) for judge in judges]
    return JUDGES[images.sha256]


def tuned(name: str, setting: Setting) -> float:
    """Choose a game's learning rate, or read back the choice.

    Returns:
        The rate whose run ends nearest to the images trained on; the lowest one, if every run diverges. Every game has
        three runs: the two rates in the middle, and the one beyond the better. Runs have the whole length, because what
        is fastest at first may collapse later.
    """

    def measured(rate: float) -> float:
        return _distance(name, rate, setting.folder.parent / "tuning" / f"{rate:g}", setting)

    lowest, low, high, highest = RATES
    distances = {low: measured(low), high: measured(high)}
    beyond = highest if distances[high] < distances[low] else lowest
    distances[beyond] = measured(beyond)
    setting.say(f"{name}: " + ", ".join(f"{rate:g} ends at {distance:.1f}" for rate, distance in distances.items()))
    return min(distances, key=lambda rate: (distances[rate], rate))


def write_tuning(home: Path) -> None:
    """Write the distance that each learning rate of each game under a folder came to; null where the run diverged."""
    found: dict[str, dict[str, float | None]] = {}
    for name in GAMES:
        files = (home / name / "tuning").glob("*/distance")
        kept = {float(file.parent.name): float(file.read_text(encoding="utf-8")) for file in files}
        found[name] = {f"{rate:g}": kept[rate] if math.isfinite(kept[rate]) else None for rate in sorted(kept)}
    write_atomically(home / TUNING, (json.dumps(found, indent=2) + "\n").encode())


def read_tuning(folder: Path) -> dict[str, Mapping[float, float]]:
    """Read what `write_tuning` wrote, of each game by the learning rate; infinite where the run diverged.

    Raises:
        DataError: if the file is missing or none of these.
    """
    try:
        found = json.loads((folder / TUNING).read_text(encoding="utf-8"))
        return {
            name: {float(rate): math.inf if distance is None else distance for rate, distance in each.items()}
            for name, each in found.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"cannot read the learning rates in {folder / TUNING}: {error}") from error


def _distance(name: str, rate: float, folder: Path, setting: Setting) -> float:
    kept = folder / "distance"
    if kept.is_file():
        return float(kept.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    place = dataclasses.replace(setting, folder=folder, seed=TUNING_SEED)
    trained, diverged = _trained(name, rate, place, watched=False)
    distance = math.inf
    if not diverged:
        loaded, data = export.load(trained, setting.data_path)
        distance = _to_training_images(loaded, cast("ImageData", data))
    kept.write_text(f"{distance}\n", encoding="utf-8")
    return distance


def _to_training_images(run: Run, data: ImageData) -> float:
    """The Fréchet distance of an averaged generator to images that it was trained on."""
    count = len(data.held_out)
    seen = dataclasses.replace(data, held_out=data.train[:count], held_out_labels=labels_of(data)[0][:count])
    device = next(run.generator.parameters()).device
    return Evaluator(run.config, seen, device).measure(run.ema)[f"{QUALITY}frechet_distance"]


def _trained(name: str, rate: float, setting: Setting, *, watched: bool = True) -> tuple[Path, bool]:
    """Train, and say whether the run diverged; then its newest checkpoint is measured."""
    config = configured(name, rate=rate, total_samples=TOTAL_SAMPLES, seed=setting.seed, watched=watched)
    folder = setting.folder / "run"
    diverged = any(event.event == "divergence" for event in history.events(folder))
    if not diverged:
        try:
            completed(config, folder, setting)
        except DivergenceError as error:
            setting.say(f"{name}: diverged: {error}")
            diverged = True
    return folder, diverged


def experiment(name: str) -> Experiment:
    """Make the experiment of one game."""
    return Experiment(
        name=name,
        system=GAMES[name].title,
        protocol=PROTOCOL,
        paper=GAMES[name].source,
        seeds=SEEDS,
        targets=(),
        run=lambda setting: play(name, setting),
    )
