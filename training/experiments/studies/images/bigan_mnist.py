"""BiGAN on permutation-invariant MNIST: do nearest neighbours by the encoder's features share the digit?

The features are the input of the last layer of the exported encoder's graph, as in the paper, and each held-out image
gets the label of the nearest of all 60,000 training images. Raw pixels and the same network untrained are the
baselines.

References:
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), section 4.1, table 1 and appendix.
"""

from typing import Final, cast

import numpy as np
import torch
from numpy.typing import NDArray

from training.data import ImageData
from training.evaluation.classifier import labels_of
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.trained import exported, trained
from training.export.graphs import inference_networks, onnx_export
from training.export.graphs.features import before_last_layer
from training.export.graphs.interface import LATENT, SAMPLE
from training.export.graphs.pair import STATISTICS_LATENTS, Floats, Pair, floats
from training.export.graphs.runtime import Graph
from training.networks.encoder import Encoder, EncoderConfig
from training.state.checkpoint import Run

Features = NDArray[np.float32]
Classes = NDArray[np.int64]

BLOCK_ROWS = 500  # 120 MB of distances to 60,000 samples


def nearest_neighbour_accuracy(known: Features, labels: Classes, queries: Features, truth: Classes) -> float:
    """Give each query the label of its nearest known sample.

    Args:
        known: [N, F].
        labels: [N].
        queries: [M, F].
        truth: [M], the labels of the queries.

    Returns:
        Share of queries whose label is right; of equally near samples the first counts.
    """
    return float((labels[nearest(known, queries)] == truth).mean())


def nearest(known: Features, queries: Features) -> NDArray[np.int64]:
    """Find the nearest known sample of each query.

    Args:
        known: [N, F].
        queries: [M, F].

    Returns:
        [M] rows of `known`.
    """
    # |q - k|^2 = |q|^2 + |k|^2 - 2 q.k, where |q|^2 is constant. Centred, so that float32 suffices.
    centre = known.mean(axis=0, dtype=np.float64).astype(np.float32)
    known, queries = known - centre, queries - centre
    half_norms = np.square(known, dtype=np.float64).sum(axis=1).astype(np.float32) / 2
    blocks = [
        (queries[start : start + BLOCK_ROWS] @ known.T - half_norms).argmax(axis=1)
        for start in range(0, len(queries), BLOCK_ROWS)
    ]
    return np.concatenate(blocks)


CONFIG: Final = "bigan-mnist"
PAPER = 0.9739
FEATURES: Final = "features"


def measure(setting: Setting) -> Metrics:
    """Train one seed and find the nearest neighbour of every held-out image.

    Args:
        setting: of one seed; its folder keeps the run.

    Returns:
        1-NN accuracy on the features of the encoder, of an untrained one and on raw pixels, and the mean absolute
        difference of a held-out image and its reconstruction, in units of the pixels' range.
    """
    pair, run, data = exported(trained(CONFIG, setting), setting)
    images, encoder = cast("ImageData", data), cast("Graph", pair.encoder)  # by the configuration
    known_labels, truth, _ = labels_of(images)
    known, queries = floats(images.train), floats(images.held_out)

    def accuracy(first: Floats, second: Floats) -> float:
        rows = (features.reshape(len(features), -1) for features in (first, second))
        return nearest_neighbour_accuracy(next(rows), known_labels, next(rows), truth)

    def encoded(encoder: bytes) -> float:
        graph = Graph(before_last_layer(encoder, FEATURES))
        seen = (graph.output(FEATURES, {SAMPLE: samples}).astype(np.float32) for samples in (known, queries))
        return accuracy(next(seen), next(seen))

    found = encoder.output(LATENT, {SAMPLE: queries})
    again = pair.generator.output(SAMPLE, {LATENT: found}).astype(np.float32)
    return {
        "neighbour_accuracy": encoded(cast("bytes", pair.encoder_bytes)),
        "untrained_accuracy": encoded(_untrained(run, pair, known, setting.seed)),
        "pixel_accuracy": accuracy(known, queries),
        "reconstruction_error": float(np.abs(again - queries).mean() / 2),
    }


def _untrained(run: Run, pair: Pair, known: Floats, seed: int) -> bytes:
    """The encoder's graph before training, with its own batch statistics."""
    config = cast("EncoderConfig", run.config.encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(config, run.task, run.config.generator.latent_size)
    inference_networks.reestimate(encoder, torch.from_numpy(known[:STATISTICS_LATENTS]))
    return onnx_export.write(
        encoder.requires_grad_(False), pair.interface.encoder_inputs, pair.interface.encoder_outputs
    )


EXPERIMENT: Final = Experiment(
    name="bigan_mnist",
    system="BiGAN, fully connected",
    protocol="label of the Euclidean nearest of 60,000 training images, by what the last layer of the exported encoder "
    "is given, for MNIST's 10,000 held-out images; beside it the same by raw pixels and by the encoder untrained",
    paper="97.39 % by the encoder's features (Donahue et al. 2017, table 1; 400 epochs)",
    seeds=1,
    targets=(Target(metric="neighbour_accuracy", bound="at_least", value=PAPER),),
    run=measure,
    shown=("pixel_accuracy", "untrained_accuracy", "reconstruction_error"),
)
