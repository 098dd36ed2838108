"""Exports a run as a package: the averaged generator and its discriminator, measured as they will be served.

    run ──▶ pair of graphs ─┬─▶ golden vectors                                    ┐
                            └─▶ quantised samples ──▶ calibration, evaluation ──▶ ├─▶ manifest ──▶ publish
                                                                    card, preview ┘

The package appears in the folder of packages only when it is complete.
"""

import dataclasses
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training import config as configuration
from training import data as sources
from training.data import Data, ImageData, InteractionData, VectorData
from training.diagnostics import report
from training.errors import ExportError
from training.evaluation import reference_rows
from training.evaluation.pictures import classes_shown, picture, samples_wanted
from training.export import golden, limits, quality
from training.export.calibration import Calibration, calibrate, quantiles
from training.export.card import Findings, card, summary
from training.export.graphs import onnx_export
from training.export.graphs.catalogue import among_the_unknown
from training.export.graphs.export_seeds import Purpose
from training.export.graphs.interface import CONDITION, LABEL, LATENT, LOGIT, SAMPLE
from training.export.graphs.pair import LabelledSamples, Pair, Samples, Say, build, half_real
from training.export.graphs.parity import depends_on_batch_mates
from training.export.graphs.runtime import Arrays
from training.export.manifest import (
    CARD,
    DISCRIMINATOR,
    ENCODER,
    FILE_NAME,
    GENERATOR,
    GOLDEN,
    PREVIEW,
    REFERENCE,
    DiscriminatorFacts,
    Manifest,
)
from training.export.provenance import provenance
from training.export.publish import choose_version, publish
from training.export.unknown_label import MOST_CLASSES, UnknownLabel, calibrate_unknown_label
from training.state import checkpoint
from training.state.checkpoint import Choice, Run


def preview(samples: Tensor, real: NDArray[np.generic]) -> bytes | None:
    """Draw samples.

    Args:
        samples: [B, ...], as many as `training.evaluation.pictures.samples_wanted` says.
        real: [N, ...] of the data.

    Returns:
        PNG, or None for samples without a picture.
    """
    drawn = picture(samples, real)
    if drawn is None:
        return None
    content = io.BytesIO()
    drawn.save(content, format="png", optimize=True)
    return content.getvalue()


BATCH_MATES = 8  # rows computed together and alone
NOISE_SAMPLES = 1_000
NOISE_SEED = 0
MEBIBYTE: Final = 1 << 20
HEAVY_BYTES: Final = 8 * MEBIBYTE  # larger packages get a warning


def export_run(  # noqa: PLR0913 - the options of `export`
    run: Path,
    models_dir: Path,
    name: str | None,
    version: int | None,
    say: Say,
    *,
    data_path: str | None = None,
    license_text: str | None = None,
    choice: Choice = "newest",
) -> Path:
    """Make a package of a run's checkpoint and publish it.

    Args:
        name: of the package; None takes the configuration's.
        version: of the package; None takes the next free one.
        data_path: the data's path, if it has moved.
        license_text: of the weights, for manifest and card.
        choice: which checkpoint.

    Raises:
        TrainingError: if the run or its data cannot be read, a graph would not be faithful, or the package cannot be
            published; then nothing is left behind.
    """
    limits.check_license(license_text)
    trained, data = load(run, data_path, choice)
    name = trained.config.name if name is None else name
    version = choose_version(models_dir, name, version)
    say(_which(run, trained, choice))
    pair = build(trained, data, say)
    arrays = _golden_vectors(pair, data)
    findings, facts = _judge(pair, trained, data, say)
    told = report.facts(run)
    if told is not None and told["samples"] == trained.samples_seen:  # a report is of the newest checkpoint
        found = {each["name"]: each["words"] for each in told["findings"]}
        findings = dataclasses.replace(findings, diagnosis=found)
    drawn = _preview(pair, data)
    real = reference_sample(data)
    files = {
        GENERATOR: pair.generator_bytes,
        DISCRIMINATOR: pair.discriminator_bytes,
        **({} if pair.encoder_bytes is None else {ENCODER: pair.encoder_bytes}),
        GOLDEN: golden.pack(arrays),
        **({} if real is None else {REFERENCE: _npy(real)}),
        CARD: card(name, version, trained, data, findings, license_text, drawn=drawn is not None).encode(),
        **({} if drawn is None else {PREVIEW: drawn}),
    }
    manifest = Manifest(
        name=name,
        version=version,
        created=datetime.now(UTC),
        summary=summary(trained, data),
        license=license_text,
        files=files,
        interface=pair.interface,
        generator_opset=onnx_export.opset_of(pair.generator_bytes),
        encoder_opset=None if pair.encoder_bytes is None else onnx_export.opset_of(pair.encoder_bytes),
        discriminator=facts,
        golden_count=golden.COUNT,
        tolerances=golden.tolerances(arrays, pair.parity),
        reference_count=None if real is None else len(real),
        provenance=provenance(trained, data, _metrics(findings)),
    )
    package = publish({**files, FILE_NAME: manifest.to_json()}, models_dir, name, version)
    size = sum(len(content) for content in files.values())
    say(f"published: {package}, {size / MEBIBYTE:.2f} MiB")
    if size > HEAVY_BYTES:
        say(f"warning: more than {HEAVY_BYTES // MEBIBYTE} MiB is much for a git repository; use narrower networks")
    return package


def _which(run: Path, trained: Run, choice: Choice) -> str:
    """Say which checkpoint is exported, and whether another one had better samples."""
    kind = f"the {choice}" if isinstance(choice, str) else "the one"
    words = f"checkpoint: {kind}, of {trained.samples_seen:,} of {trained.config.trainer.total_samples:,} samples"
    if trained.best is not None:
        return f"{words}, by {trained.best}"
    found = checkpoint.find_best(run)
    if found is None or found[1].samples == trained.samples_seen:
        return words
    return f"{words}; --checkpoint best takes that of {found[1].samples:,}, by {found[1]}"


def load(run: Path, data_path: str | None = None, choice: Choice = "newest") -> tuple[Run, Data]:
    """Read a run and the data it was trained on.

    Args:
        data_path: the data's path, if it has moved.
        choice: which checkpoint.

    Raises:
        TrainingError: if either cannot be read, or the data is not the run's or does not suit a package.
    """
    trained = checkpoint.load_run(run, choice)
    config = trained.config if data_path is None else configuration.with_data_path(trained.config, data_path)
    data = sources.load(config.data)
    if data.sha256 != trained.data_sha256:
        raise ExportError(
            f"{run} was trained on other data: its SHA-256 was {trained.data_sha256} and is {data.sha256}"
        )
    limits.check(config, data)
    return trained, data


def _preview(pair: Pair, data: Data) -> bytes | None:
    classes = len(pair.interface.labels)
    inputs = pair.inputs(Purpose.PREVIEW, samples_wanted(data.sample_shape, classes))
    if classes:
        inputs[LABEL] = classes_shown(data.sample_shape, classes)
    shown = pair.generator.output(SAMPLE, inputs)
    return preview(torch.from_numpy(shown.astype(np.float32)), data.train)


def reference_sample(data: Data) -> NDArray[np.float32] | None:
    """Select held-out vectors that people may compare generated ones with.

    Returns:
        [N, D], evenly spread over those held out; None for other samples, and where the source does not say that they
        may be published.
    """
    if not isinstance(data, VectorData) or not data.redistributable:
        return None
    available, (size,) = len(data.held_out), data.sample_shape
    count = min(available, limits.MOST_REFERENCE_ROWS, limits.MOST_REFERENCE_NUMBERS // size)
    return data.held_out[np.arange(count) * available // count]


def _npy(vectors: NDArray[np.float32]) -> bytes:
    content = io.BytesIO()
    np.save(content, vectors.astype("<f4"), allow_pickle=False)
    return content.getvalue()


def _golden_vectors(pair: Pair, data: Data) -> Arrays:
    judged = half_real(pair.generated(Purpose.GOLDEN, golden.COUNT), data)
    vectors = {
        "generator": (pair.generator, pair.inputs(Purpose.GOLDEN, golden.COUNT)),
        "discriminator": (pair.discriminator, judged.inputs()),
    }
    if pair.encoder is not None:
        vectors["encoder"] = (pair.encoder, judged.inputs())
    return golden.vectors(vectors)


def _judge(pair: Pair, run: Run, data: Data, say: Say) -> tuple[Findings, DiscriminatorFacts]:
    """Measure the pair on its samples as they are sent."""
    chosen = reference_rows(data)
    labels = None if data.held_out_labels is None else data.held_out_labels[chosen]
    real = pair.real(data.held_out[chosen], labels)
    generated = _generated_beside(real, pair, data)
    real_logits, generated_logits = pair.logits(real), pair.logits(generated)
    calibration = calibrate(real_logits, generated_logits)
    say(f"calibration: {calibration}")
    unknown_label = _unknown_label(pair, real, generated, calibration, say)
    coupled = depends_on_batch_mates(
        lambda inputs: pair.discriminator.run(inputs)[LOGIT], generated[slice(BATCH_MATES)].inputs()
    )
    facts = DiscriminatorFacts(
        opset=onnx_export.opset_of(pair.discriminator_bytes),
        loss_family=run.config.objective.loss_family,
        batch_coupled=coupled,
        calibration=calibration,
        real_quantiles=quantiles(real_logits),
        generated_quantiles=quantiles(generated_logits),
        unknown_label=unknown_label,
    )
    findings = Findings(
        parity=pair.parity,
        calibration=calibration,
        noise_probability=_noise_probability(pair, calibration, data),
        noise_samples=NOISE_SAMPLES,
        quality=quality.measure(pair.generator, pair.interface, run.config, data, say, encoder=pair.encoder),
        unknown_label=unknown_label,
    )
    return findings, facts


def _unknown_label(
    pair: Pair, real: LabelledSamples, generated: LabelledSamples, calibration: Calibration, say: Say
) -> UnknownLabel | None:
    """Calibrate logits without a label; None without classes, or with too many."""
    if not 0 < len(pair.interface.labels) <= MOST_CLASSES or real.labels is None or generated.labels is None:
        return None
    found = calibrate_unknown_label(
        pair.logits_of_every_class(real),
        real.labels,
        pair.logits_of_every_class(generated),
        generated.labels,
        calibration.curve,
    )
    say(f"without a label: {found}")
    return found


def _generated_beside(real: LabelledSamples, pair: Pair, data: Data) -> LabelledSamples:
    """As many generated samples; items for the same users, without those they are known to have taken."""
    if not isinstance(data, InteractionData) or real.labels is None:
        return pair.generated(Purpose.CALIBRATION, len(real.samples))
    inputs, known = pair.inputs(Purpose.CALIBRATION, len(real.samples)), data.relevance(data.pairs)
    unknown = among_the_unknown(inputs[LATENT], real.labels, known)
    drawn = pair.generator.output(SAMPLE, {LATENT: unknown, CONDITION: real.labels})
    return LabelledSamples(drawn.astype(np.int64), real.labels)


def _noise_probability(pair: Pair, calibration: Calibration, data: Data) -> float:
    """Mean P(real) of samples that are uniform noise over the range of the data."""
    chance = np.random.default_rng(NOISE_SEED)
    labels = chance.integers(data.classes, size=NOISE_SAMPLES) if pair.interface.told else None
    noise = pair.real(_noise(chance, data), labels)
    return float(calibration.probability(pair.logits(noise).astype(np.float64)).mean())


def _noise(chance: np.random.Generator, data: Data) -> Samples:
    shape = (NOISE_SAMPLES, *data.sample_shape)
    if isinstance(data, ImageData):
        return chance.integers(0, 256, shape, dtype=np.uint8)
    if isinstance(data, InteractionData):
        return chance.integers(data.items, size=shape)
    return chance.uniform(data.train.min(axis=0), data.train.max(axis=0), shape).astype(np.float32)


def _metrics(findings: Findings) -> dict[str, object]:
    """The figures as plain values, for the manifest's provenance."""
    calibration, parity, found = findings.calibration, findings.parity, findings.quality
    return {
        "parity": {key: gap for key, gap in dataclasses.asdict(parity).items() if gap is not None},
        "discriminator": {
            "area_under_curve": calibration.area_under_curve,
            "log_loss": calibration.log_loss,
            "expected_calibration_error": calibration.expected_calibration_error,
            "evaluation_samples": calibration.evaluation_samples,
            "noise_probability": findings.noise_probability,
            "noise_samples": findings.noise_samples,
            **({} if findings.unknown_label is None else {"unknown_label": findings.unknown_label.figures()}),
        },
        **({} if found is None else {found.subject: found.figures}),
    }
