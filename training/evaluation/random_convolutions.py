"""Features that need no labels and no training: energies inside a network of fixed random convolutions.

    x -> [3x3 convolution with random zero-mean filters -> log energy on a 2x2 grid
                  └─ ReLU -> halve ] ...  and colours on a 4x4 grid -> an equal weight each -> D directions

A layer's energy is the mean square of a filter's response, and its logarithm separates a missing texture from a faint
one: an image without detail lies outside the real ones, whereas a trained network may put it in their middle. Only the
weights of the layers and the D directions of greatest variance are fitted, on training images, so the features are a
function of recipe and data.

They measure colours and their positions, contrast, sharpness, texture, local strokes and, in deeper layers, coarse
shape. They do not distinguish objects of the same texture and layout.

Shapes: N images, C H W channels, height and width, F statistics, D features.

References:
    Heeger and Bergen, Pyramid-Based Texture Analysis/Synthesis (1995): images by the statistics of filter responses.
    Saxe et al., On Random Weights and Unsupervised Feature Learning (2011): random convolutions as features.
    Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models (2020): random networks as extractors
        where a trained one does not know the domain.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, avg_pool2d, conv2d, pad, relu

from training.data.image_data import Bytes, ImageData
from training.data.pixels import tensor, to_floats
from training.evaluation.distances import Features
from training.progress import progress

KIND = "random_convolutions"
MOST_POSITIONS = 1 << 20  # pixels at once: 128 MiB for the activations of a layer


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything but the data that the features depend on.

    Attributes:
        revision: raised when this file's code changes what a recipe means.
        width: filters of a layer.
        coarsest_pixels: an image is halved while its larger side is at least as long.
        energy_grid: rows and columns of the grid on which a filter's energy is averaged.
        colour_grid: rows and columns of the grid of mean colours.
        least_energy: added before the logarithm; ten times the effect of rounding to bytes.
        fitted_images: training images, evenly spread, that weights and directions are fitted on.
        most_features: D at most.
        samples_per_feature: D is at most the number of held-out images over this, so that covariances are well
            estimated.
    """

    revision: int = 1
    seed: int = 0
    width: int = 32
    coarsest_pixels: int = 4
    energy_grid: int = 2
    colour_grid: int = 4
    least_energy: float = 1e-4
    fitted_images: int = 5_000
    most_features: int = 64
    samples_per_feature: int = 10


RECIPE = Recipe()


@dataclass(frozen=True)
class RandomConvolutions:
    """The extractor, fitted to a data set.

    Attributes:
        filters: of each layer, [width, C or width, 3, 3].
        directions: [F, D], the layers' weights included.
        sha256: of recipe and data, hexadecimal: the same hash means the same features.
    """

    recipe: Recipe
    filters: tuple[Tensor, ...]
    directions: Features
    sha256: str

    @property
    def dimensions(self) -> int:
        """D."""
        return int(self.directions.shape[1])

    def facts(self) -> dict[str, object]:
        """What identifies the features, as plain values."""
        return {
            "kind": KIND,
            "dimensions": self.dimensions,
            "sha256": self.sha256,
            "recipe": dataclasses.asdict(self.recipe),
        }

    def extract(self, pixels: Bytes) -> tuple[Features, None]:
        """Compute features.

        Args:
            pixels: [N, C, H, W].

        Returns:
            Features [N, D], and no class probabilities.
        """
        return np.concatenate(_statistics(pixels, self.filters, self.recipe), axis=1) @ self.directions, None


def fit(data: ImageData, held_out: int, recipe: Recipe = RECIPE) -> RandomConvolutions:
    """Fit the extractor to a data set.

    Args:
        held_out: held-out images that will be compared with.

    Returns:
        The extractor, the same for the same data.
    """
    channels, height, width = data.image_shape
    filters = _filters(channels, max(height, width), recipe)
    fitted = min(len(data.train), recipe.fitted_images)
    layers = _statistics(data.train[np.arange(fitted) * len(data.train) // fitted], filters, recipe)
    spreads = [float(layer.var(axis=0).sum()) for layer in layers]
    weights = np.concatenate(
        [
            np.full(layer.shape[1], spread**-0.5 if spread > 0 else 0.0)
            for layer, spread in zip(layers, spreads, strict=True)
        ]
    )
    weighted = np.concatenate(layers, axis=1) * weights
    centred = weighted - weighted.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)  # in ascending order of variance
    count = max(2, min(recipe.most_features, held_out // recipe.samples_per_feature, fitted - 1))
    directions = weights[:, np.newaxis] * vectors[:, ::-1][:, :count]
    identity = json.dumps([KIND, dataclasses.asdict(recipe), count, data.sha256], sort_keys=True)
    return RandomConvolutions(recipe, filters, directions, hashlib.sha256(identity.encode()).hexdigest())


def _filters(channels: int, side: int, recipe: Recipe) -> tuple[Tensor, ...]:
    """One bank a resolution, and one for the smallest image."""
    chance = np.random.default_rng(recipe.seed)
    banks = []
    while True:
        bank = chance.standard_normal((recipe.width, channels, 3, 3))
        bank -= bank.mean(axis=(1, 2, 3), keepdims=True)  # zero response to brightness, which has its own statistics
        banks.append(torch.from_numpy((bank * np.sqrt(2 / (9 * channels))).astype(np.float32)))  # He: energy is kept
        if side < recipe.coarsest_pixels:
            return tuple(banks)
        channels, side = recipe.width, side // 2


def _statistics(pixels: Bytes, filters: tuple[Tensor, ...], recipe: Recipe) -> list[Features]:
    """[N, ...] of each layer: colours, energies from fine to coarse, and the last layer's mean responses."""
    _, _, height, width = pixels.shape
    batch = max(1, MOST_POSITIONS // (height * width))
    with torch.no_grad():
        rows = torch.split(tensor(pixels), batch)
        parts = [_of_batch(to_floats(some), filters, recipe) for some in progress(rows, "looking", len(rows), "batch")]
    return [torch.cat(layer).double().numpy() for layer in zip(*parts, strict=True)]


def _of_batch(samples: Tensor, filters: tuple[Tensor, ...], recipe: Recipe) -> list[Tensor]:
    layers = [_on_grid(samples, recipe.colour_grid)]
    for bank in filters:
        responses = conv2d(pad(samples, [1] * 4, mode="replicate"), bank)
        layers.append((_on_grid(responses.square(), recipe.energy_grid) + recipe.least_energy).log() / 2)
        samples = relu(responses)
        if min(samples.shape[2:]) > 1:
            samples = avg_pool2d(samples, 2)
    return [*layers, _on_grid(samples, 1)]


def _on_grid(values: Tensor, most: int) -> Tensor:
    """Means over a grid, no finer than the image itself, [N, ...]."""
    height, width = values.shape[2:]
    return adaptive_avg_pool2d(values, (min(most, height), min(most, width))).flatten(1)
