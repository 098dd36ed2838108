"""From a run to a package: the averaged generator and its discriminator, measured as they will be served.

    run ──▶ pair of graphs ─┬─▶ golden vectors                                    ┐
                            └─▶ quantised samples ──▶ calibration, evaluation ──▶ ├─▶ manifest ──▶ publish
                                                                    card, preview ┘

Nothing appears among the packages before all of it is done.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch

from training import checkpoint, data
from training import config as configuration
from training.calibration import Calibration, calibrate, quantiles
from training.checkpoint import Run
from training.data.image_data import ImageData
from training.errors import ExportError
from training.evaluation import Evaluation, classifier, evaluate, reference_images
from training.manifest import CARD, DISCRIMINATOR, FILE_NAME, GENERATOR, GOLDEN, PREVIEW, DiscriminatorFacts, Manifest
from training.packaging import golden, graphs
from training.packaging.card import Findings, card, summary
from training.packaging.draws import Purpose
from training.packaging.graphs import LOGIT, SAMPLE
from training.packaging.pair import Pair, Say, build, floats, half_real
from training.packaging.parity import depends_on_batch_mates
from training.packaging.preview import COUNT as PREVIEW_COUNT
from training.packaging.preview import preview
from training.packaging.provenance import provenance
from training.packaging.publish import choose_version, publish
from training.packaging.runtime import Arrays

IMAGE_CHANNELS: Final = (1, 3)  # of the package format
FEWEST_HELD_OUT = 64  # images: with fewer, the halves of a calibration say nothing
BATCH_MATES = 8  # rows tried together and alone
NOISE_SAMPLES = 1_000
NOISE_SEED = 0
MEBIBYTE: Final = 1 << 20
HEAVY_BYTES: Final = 8 * MEBIBYTE  # from here on a package is a burden to a repository


def export_run(
    run: Path,
    models_dir: Path,
    name: str | None,
    version: int | None,
    say: Say,
    *,
    data_path: str | None = None,
    license_text: str | None = None,
) -> Path:
    """Make a package of a run's newest checkpoint and publish it.

    Args:
        run: the run's folder.
        models_dir: folder of packages.
        name: of the package; None takes the configuration's.
        version: of the package; None takes the next free one.
        say: told of every stage.
        data_path: where the data lies now, if it has moved.
        license_text: of the weights, for manifest and card.

    Returns:
        The package's folder.

    Raises:
        TrainingError: if the run or its data cannot be read, a graph would not be faithful, or the package cannot be
            published; then nothing is left behind.
    """
    trained, images = load(run, data_path)
    name = trained.config.name if name is None else name
    version = choose_version(models_dir, name, version)
    pair = build(trained, images, say)
    arrays = _golden_vectors(pair, images)
    findings, facts = _judge(pair, trained, images, say)
    shown = pair.generator.output(SAMPLE, pair.latents(Purpose.PREVIEW, PREVIEW_COUNT)).astype(np.float32)
    files = {
        GENERATOR: pair.generator_bytes,
        DISCRIMINATOR: pair.discriminator_bytes,
        GOLDEN: golden.pack(arrays),
        CARD: card(name, version, trained, images, findings, license_text).encode(),
        PREVIEW: preview(torch.from_numpy(shown)),
    }
    manifest = Manifest(
        name=name,
        version=version,
        created=datetime.now(UTC),
        summary=summary(trained, images),
        license=license_text,
        files=files,
        latent_size=pair.latent_size,
        image_shape=images.image_shape,
        generator_opset=graphs.opset_of(pair.generator_bytes),
        discriminator=facts,
        golden_count=golden.COUNT,
        tolerances=golden.tolerances(arrays, pair.parity),
        provenance=provenance(trained, images, _metrics(findings)),
    )
    package = publish({**files, FILE_NAME: manifest.to_json()}, models_dir, name, version)
    size = sum(len(content) for content in files.values())
    say(f"published: {package}, {size / MEBIBYTE:.2f} MiB")
    if size > HEAVY_BYTES:
        say(f"warning: more than {HEAVY_BYTES // MEBIBYTE} MiB is a burden to a git repository; narrow the networks")
    return package


def load(run: Path, data_path: str | None = None) -> tuple[Run, ImageData]:
    """Read a run and the data it was trained on.

    Args:
        run: the run's folder.
        data_path: where the data lies now, if it has moved.

    Returns:
        The trained pair and its data.

    Raises:
        TrainingError: if either cannot be read, or the data is not the run's or does not suit a package.
    """
    trained = checkpoint.load_run(run)
    config = trained.config if data_path is None else configuration.with_data_path(trained.config, data_path)
    images = data.load(config.data)
    channels, held_out = images.image_shape[0], len(images.held_out)
    if images.sha256 != trained.data_sha256:
        raise ExportError(
            f"{run} was trained on other data: its SHA-256 was {trained.data_sha256} and is {images.sha256}"
        )
    if channels not in IMAGE_CHANNELS:
        raise ExportError(f"{images.name} has {channels} channels; a package's images are grey (1) or colour (3)")
    if held_out < FEWEST_HELD_OUT:
        raise ExportError(f"{images.name} holds out {held_out} images; to calibrate takes {FEWEST_HELD_OUT} or more")
    return trained, images


def _golden_vectors(pair: Pair, images: ImageData) -> Arrays:
    judged = half_real(floats(pair.pixels(Purpose.GOLDEN, golden.COUNT)), images)
    return golden.vectors(pair.generator, pair.latents(Purpose.GOLDEN, golden.COUNT), pair.discriminator, judged)


def _judge(pair: Pair, run: Run, images: ImageData, say: Say) -> tuple[Findings, DiscriminatorFacts]:
    """Measure the pair by its quantised samples."""
    real = reference_images(images)
    generated = pair.pixels(Purpose.CALIBRATION, len(real))
    real_logits, generated_logits = pair.logits(real), pair.logits(generated)
    calibration = calibrate(real_logits, generated_logits)
    say(
        f"calibration: error {calibration.expected_calibration_error:.4f}, area under the curve "
        f"{calibration.area_under_curve:.4f}, on {calibration.evaluation_samples:,} samples"
    )
    coupled = depends_on_batch_mates(
        lambda samples: pair.discriminator.run(samples)[LOGIT], floats(generated[:BATCH_MATES])
    )
    facts = DiscriminatorFacts(
        opset=graphs.opset_of(pair.discriminator_bytes),
        loss_family=run.config.objective.kind,
        batch_coupled=coupled,
        calibration=calibration,
        real_quantiles=quantiles(real_logits),
        generated_quantiles=quantiles(generated_logits),
    )
    findings = Findings(
        parity=pair.parity,
        calibration=calibration,
        noise_probability=_noise_probability(pair, calibration, images),
        noise_samples=NOISE_SAMPLES,
        evaluation=_evaluation(pair, images, say),
    )
    return findings, facts


def _evaluation(pair: Pair, images: ImageData, say: Say) -> Evaluation | None:
    if images.train_labels is None:
        say(f"evaluation: left out, because {images.name} has no labels to train a classifier with")
        return None
    say("evaluation: by a classifier from the cache, or trained now (two minutes on one core for MNIST)")
    judge = classifier.obtain(images)
    return evaluate(pair.pixels(Purpose.EVALUATION, len(reference_images(images))), images, judge)


def _noise_probability(pair: Pair, calibration: Calibration, images: ImageData) -> float:
    """Mean P(real) of images whose every byte is uniform noise."""
    noise = np.random.default_rng(NOISE_SEED).integers(0, 256, (NOISE_SAMPLES, *images.image_shape), dtype=np.uint8)
    return float(calibration.probability(pair.logits(noise).astype(np.float64)).mean())


def _metrics(findings: Findings) -> dict[str, object]:
    """What was measured, as plain values for the manifest's provenance."""
    calibration, parity, evaluation = findings.calibration, findings.parity, findings.evaluation
    return {
        "parity": {"sample": parity.sample, "pixels": parity.pixels, "logit": parity.logit},
        "discriminator": {
            "area_under_curve": calibration.area_under_curve,
            "log_loss": calibration.log_loss,
            "expected_calibration_error": calibration.expected_calibration_error,
            "evaluation_samples": calibration.evaluation_samples,
            "noise_probability": findings.noise_probability,
            "noise_samples": findings.noise_samples,
        },
        **({} if evaluation is None else {"images": evaluation.summary()}),
    }
