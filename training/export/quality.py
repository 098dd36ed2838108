"""Measures a package's samples, for its manifest, its card and `evaluate`.

    images                   by random convolutions, and by a classifier trained on the same data if it is suitable;
                             or by a user's features; the codes of coloured shapes against the true factors
    stacked digits           by a classifier of single digits
    a mixture of Gaussians   by its exact modes
    items for users          by the ranks of the items that users took later
    anything else            not at all

Samples are drawn from the graph that is served; `training.evaluation` computes the figures.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.codes import factor_agreement
from training.config import Config
from training.data import (
    Data,
    ImageData,
    InteractionData,
    MixtureConfig,
    MnistConfig,
    PlantedConfig,
    ShapesConfig,
    StackedMnistConfig,
    VectorData,
    mnist,
)
from training.data.mixtures import mixture
from training.data.planted import tastes
from training.data.shapes import factors
from training.data.stacked_mnist import CLASSES
from training.evaluation import classifier, evaluate, mixtures, modes, reference_rows
from training.evaluation.classifier import Classifier
from training.evaluation.feature_extractors import Extractors, FeatureExtractor, choose
from training.evaluation.intervals import LEVEL, PARTS
from training.evaluation.random_convolutions import RandomConvolutions
from training.evaluation.ranking import popularity, rank
from training.evaluation.tables import coverage_table, factors_table, metrics_table, ranking_table, stacked_table
from training.export.graphs import catalogue
from training.export.graphs.export_seeds import Purpose
from training.export.graphs.interface import CODE, SAMPLE, Interface
from training.export.graphs.pair import Say, draw_samples, floats
from training.export.graphs.runtime import Graph

NOT_MEASURED = "Not measured: such samples cannot be measured."


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The measured quality of samples.

    Attributes:
        subject: the manifest's key for this kind of samples.
        figures: plain values for the manifest.
        told: how it was measured, as sentences.
        table: the figures as lines of Markdown.
        limits: known faults of the samples, as sentences.
    """

    subject: str
    figures: dict[str, object]
    told: str
    table: list[str]
    limits: list[str]


def measure(
    generator: Graph,
    face: Interface,
    config: Config,
    data: Data,
    say: Say,
    given: FeatureExtractor | None = None,
    *,
    encoder: Graph | None = None,
) -> Quality | None:
    """Measure the samples of a generator's graph.

    Args:
        encoder: reads codes from samples, where there are any.
        given: feature extractor, instead of the chosen ones.

    Returns:
        The figures; None where they cannot be measured.
    """
    if given is not None and isinstance(data, ImageData):
        return _of_images(generator, face, data, say, given)
    if isinstance(config.data, MixtureConfig) and isinstance(data, VectorData):
        return _of_mixture(generator, face, config.data, data, say)
    if isinstance(data, InteractionData):
        return _of_items(generator, config, data, say)
    if isinstance(config.data, StackedMnistConfig) and isinstance(data, ImageData):
        return _of_stacked_digits(generator, face, config.data, data, say)
    if isinstance(data, ImageData):
        return _with_codes(_of_images(generator, face, data, say), encoder, config, data)
    say(f"evaluation: left out, because samples of {data.name} cannot be measured")
    return None


def _of_images(
    generator: Graph, face: Interface, data: ImageData, say: Say, given: FeatureExtractor | None = None
) -> Quality:
    if given is not None:
        say("evaluation: by the features given")
        panel = Extractors((given,))
    else:
        by = "random convolutions"
        if data.train_labels is not None:
            by = f"a classifier from the cache, or trained now (two minutes on one core for MNIST), and {by}"
        say(f"evaluation: by {by}")
        panel = choose(data, len(reference_rows(data)))
    if panel.rejected:
        say(f"evaluation: no classifier judges: {panel.rejected}")
    shown = draw_samples(generator, face, Purpose.EVALUATION, len(reference_rows(data)))
    pixels = shown.samples.astype(np.uint8, copy=False)
    first, *others = (evaluate(pixels, data, judge, shown.labels) for judge in panel.extractors)
    figures = first.summary()
    lines = metrics_table(first)
    limits = first.warnings()
    for other in others:
        figures["label_free"] = other.summary()
        lines += ["", _features(other.judge), "", *metrics_table(other)]
        limits += other.warnings()
    if first.generated.modes is not None:
        doubtful = 1 - first.generated.modes.confident_share
        limits.append(
            f"{doubtful:.1%} of its samples leave the classifier in doubt; some are no clear specimen of any class."
        )
    return Quality(
        subject="images",
        figures=figures,
        told=f"{first.samples:,} quantised samples of the exported graph against {first.held_out:,} held-out images. "
        "The column *real* has training images in the generator's place and is the floor; *blobs* has images of the "
        f"data's mean without any detail. In brackets is the central {LEVEL:.0%} over {PARTS} random parts of the "
        f"images. {_features(first.judge)} Figures are comparable only under the same features, never with Inception's."
        + (f" No classifier judges: {panel.rejected}." if panel.rejected else ""),
        table=lines,
        limits=limits,
    )


def _with_codes(found: Quality, encoder: Graph | None, config: Config, data: ImageData) -> Quality:
    """Add how well the codes, if there are any, tell the factors that held-out images were drawn from, if known."""
    if encoder is None or config.codes is None or not isinstance(config.data, ShapesConfig):
        return found
    _, truth = factors(config.data)
    agreement = factor_agreement(
        config.codes,
        encoder.output(CODE, {SAMPLE: floats(data.held_out)}).astype(np.float64),
        {"colour": truth.colour, "shape": truth.shape},
        {"x": truth.x, "y": truth.y, "radius": truth.radius},
    )
    return dataclasses.replace(
        found,
        figures={**found.figures, "codes": agreement},
        table=[*found.table, "", *factors_table(agreement)],
        told=f"{found.told} The last table has what the codes that are read from the held-out images say of the "
        "factors these were drawn from: of colour and shape the accuracy of the best code, its categories matched one "
        "to one; of the others the rank correlation with a code of their own.",
    )


def _features(judge: FeatureExtractor) -> str:
    """Describe the features in a sentence or two."""
    facts = judge.facts()
    if isinstance(judge, Classifier):
        return (
            f"Features are the {judge.dimensions} units before the output of a small classifier trained on the same "
            f"data ({judge.accuracy:.2%} of the held-out images right, weights SHA-256 `{judge.sha256}`)."
        )
    if isinstance(judge, RandomConvolutions):
        return (
            f"Features are {judge.dimensions} directions in the energies of fixed random convolutions, fitted to the "
            f"training images without labels (SHA-256 `{judge.sha256}`): they measure colour, layout, sharpness and "
            "texture, and not content."
        )
    return f"Features are the {judge.dimensions} outputs of `{facts['file']}` (SHA-256 `{facts['sha256']}`)."


def _of_stacked_digits(
    generator: Graph, face: Interface, config: StackedMnistConfig, data: ImageData, say: Say
) -> Quality:
    say("evaluation: channel by channel, by MNIST's classifier from the cache, or trained now")
    judge = classifier.obtain(mnist.load(MnistConfig(path=config.path)))
    shown = draw_samples(generator, face, Purpose.EVALUATION, modes.SAMPLES)
    generated = modes.count_stacked(shown.samples.astype(np.uint8, copy=False), judge)
    real = modes.count_stacked(data.held_out[: modes.SAMPLES], judge)
    return Quality(
        subject="stacked",
        figures={
            "samples": len(shown.samples),
            "classifier": {"accuracy": judge.accuracy, "sha256": judge.sha256},
            "generated": dataclasses.asdict(generated),
            "real": dataclasses.asdict(real),
        },
        told=f"{len(shown.samples):,} quantised samples of the exported graph, each channel judged by a classifier of "
        f"single digits ({judge.accuracy:.2%} of the held-out digits right, weights SHA-256 `{judge.sha256}`). The "
        "column *real* has held-out triples in the generator's place and is the floor.",
        table=stacked_table(generated, real),
        limits=[f"{CLASSES - generated.captured} of {CLASSES:,} classes were not drawn once."],
    )


def _of_mixture(generator: Graph, face: Interface, config: MixtureConfig, data: VectorData, say: Say) -> Quality:
    say("evaluation: by the mixture's own modes")
    law = mixture(config)
    shown = draw_samples(generator, face, Purpose.EVALUATION, mixtures.SAMPLES)
    generated = mixtures.cover(shown.samples.astype(np.float32, copy=False), law)
    real = mixtures.cover(data.held_out[: mixtures.SAMPLES], law)
    return Quality(
        subject="mixture",
        figures={
            "samples": len(shown.samples),
            "generated": dataclasses.asdict(generated),
            "real": dataclasses.asdict(real),
        },
        told=f"{len(shown.samples):,} samples of the exported graph against the exact modes of {data.name}: a sample "
        f"is of high quality within {mixtures.DEVIATIONS:g} standard deviations of its nearest mode. The column *real* "
        "has held-out samples in the generator's place and is the floor.",
        table=coverage_table(generated, real),
        limits=[f"{1 - generated.high_quality_share:.1%} of its samples lie off every mode."],
    )


def _of_items(generator: Graph, config: Config, data: InteractionData, say: Say) -> Quality:
    say("evaluation: by the test pairs")
    known, sought = data.relevance(data.pairs), data.relevance(data.test)
    rankings: dict[str, NDArray[np.floating]] = {
        "generator": catalogue.scores(generator.model, data.users, data.items),
        "popularity": popularity(known),
    }
    if isinstance(config.data, PlantedConfig):
        rankings["truth"] = tastes(config.data)
    figures = {name: rank(scores, known, sought) for name, scores in rankings.items()}
    planted = " *Truth* ranks by the tastes that were planted: nothing can be expected to do better."
    return Quality(
        subject="ranking",
        figures={"test_pairs": len(data.test), **figures},
        told="The generator's scores, read from the exported graph, rank for each user all items but those trained on; "
        f"sought are {len(data.test):,} test pairs. *Popularity* counts how many users took an item."
        + (planted if "truth" in rankings else ""),
        table=ranking_table(figures),
        limits=["It may draw what a user has taken already: the caller keeps account of that."],
    )
