"""Measures the samples of a run's averaged generator while it trains: the curve of its quality.

The generator is a copy with batch statistics of its own, its latents are those of an export's evaluation, and the
figures are the export's, on fewer samples. Nothing is drawn from the run's own streams, so that measuring does not
change what is trained.
"""

import copy
import dataclasses
from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.config import Config
from training.data import ImageData, MixtureConfig, MnistConfig, StackedMnistConfig, VectorData, mnist
from training.data.image_data import Dataset
from training.data.mixtures import mixture
from training.data.pixels import to_bytes
from training.errors import ConfigError
from training.evaluation import classifier, mixtures, modes
from training.evaluation.distances import frechet_distance, kernel_distance
from training.evaluation.feature_extractors import choose
from training.evaluation.neighbourhoods import compare
from training.export.graphs.export_seeds import Purpose, draw
from training.export.graphs.inference_networks import reestimate
from training.export.graphs.interface import Interface, interface
from training.state import players
from training.state.history import QUALITY, Row
from training.state.players import Side

MOST_IMAGES: Final = 2_048  # generated, and held out: two seconds on one core for small images
BATCH: Final = 256

Figures = dict[str, float]
Judge = Callable[[NDArray[np.generic]], Figures]


class Evaluator:
    """The samples that a run's generator is measured on, and what judges them.

    The first measurement of labelled images trains their classifier, unless it is in the cache.

    Args:
        device: that the generator computes on.

    Raises:
        ConfigError: if such samples cannot be measured.
    """

    def __init__(self, config: Config, data: Dataset, device: torch.device) -> None:
        if not isinstance(data, ImageData | VectorData):
            raise ConfigError(
                f"[diagnostics] evaluate_every_samples measures images and mixtures, and {data.name} holds neither; "
                "set it to 0, and measure the finished run with `python -m training evaluate`"
            )
        self._face, self._device = interface(config, data), device
        self._count, self._judge = _judge(config, data)

    def measure(self, averaged: Side) -> Row:
        """Measure an averaged generator.

        Returns:
            Figures under the names of the log, `quality/frechet_distance` and so on; of two generators, the one with
            the lower first figure is the better one.
        """
        generator = copy.deepcopy(averaged[players.GENERATOR])
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.no_grad():
            reestimate(generator, *self._inputs(Purpose.BATCH_STATISTICS))
            batches = zip(*(torch.split(values, BATCH) for values in self._inputs(Purpose.EVALUATION)), strict=True)
            samples = torch.cat([_as_sent(generator(*batch), self._face).cpu() for batch in batches])
        return {f"{QUALITY}{name}": figure for name, figure in self._judge(samples.numpy()).items()}

    def _inputs(self, purpose: Purpose) -> list[Tensor]:
        drawn = draw(purpose, self._count, self._face).values()
        return [torch.from_numpy(values).to(self._device) for values in drawn]


def _as_sent(samples: Tensor, face: Interface) -> Tensor:
    return to_bytes(samples) if face.kind == "image" else samples


def _judge(config: Config, data: ImageData | VectorData) -> tuple[int, Judge]:
    """How many samples to draw, and the figures of them; the first one orders generators, lower being better."""
    if isinstance(config.data, MixtureConfig):
        law = mixture(config.data)
        return mixtures.SAMPLES, lambda samples: _numbers(mixtures.cover(samples, law), first="reverse_kl")
    if isinstance(config.data, StackedMnistConfig):
        digits = classifier.obtain(mnist.load(MnistConfig(path=config.data.path)))
        return modes.SAMPLES, lambda samples: _numbers(modes.count_stacked(samples, digits), first="kl_to_uniform")
    if not isinstance(data, ImageData):
        raise ConfigError(f"[diagnostics] evaluate_every_samples cannot measure {data.name}; set it to 0")
    count = min(MOST_IMAGES, len(data.held_out))
    return count, _ImageJudge(data, count)


def _numbers(found: object, first: str) -> Figures:
    """The fields of a dataclass that are numbers, one of them first."""
    named = vars(found)
    return {name: float(named[name]) for name in (first, *named) if isinstance(named[name], int | float)}


class _ImageJudge:
    """Compares images with held-out ones by the first extractor that an export would choose."""

    def __init__(self, data: ImageData, count: int) -> None:
        self._extractor = choose(data, count).extractors[0]
        self._labels = data.train_labels
        self._real, _ = self._extractor.extract(data.held_out[np.arange(count) * len(data.held_out) // count])

    def __call__(self, samples: NDArray[np.generic]) -> Figures:
        features, probabilities = self._extractor.extract(samples.astype(np.uint8, copy=False))
        figures = {
            "frechet_distance": frechet_distance(features, self._real),
            "kernel_distance": kernel_distance(features, self._real),
            **dataclasses.asdict(compare(features, self._real)),
        }
        if probabilities is not None and self._labels is not None:
            figures |= _numbers(modes.count_modes(probabilities, self._labels), first="kl_to_data")
        return figures
