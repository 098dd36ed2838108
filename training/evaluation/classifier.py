"""The classifier that judges samples, trained on the data that the generator imitates.

Features of a network trained on photographs are little suited to digits, and their weights cannot be shipped; so this
is a small convolutional network with a published recipe, a stated accuracy on held-out data and a hash of its weights.
Only figures with the same hash are comparable.

    x -> [3x3 convolution, ReLU, 2x2 max-pooling] ... -> linear -> ReLU = features -> linear -> class

The weights are kept in the user's cache under a hash of recipe and data.

Shapes: N samples, C H W channels, height and width, F features, K classes.

References:
    LeCun et al., Gradient-Based Learning Applied to Document Recognition (1998): the architecture. Smith and Topin,
    Super-Convergence (2018): the one-cycle learning rate.
"""

import dataclasses
import hashlib
import io
import json
import os
import pickle
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from training.data.image_data import Bytes, ImageData, Labels
from training.data.pixels import LOW, tensor, to_floats
from training.evaluation.distances import Features
from training.files import write_atomically
from training.progress import progress

KIND = "classifier"
MINIMUM_STAGES = 2  # one more convolution than 8x8 digits would need, so that features see the whole image
INFERENCE_BATCH = 1_000
MOST_POSITIONS = 1 << 20  # pixels of a batch: larger images are judged in smaller batches, which bounds memory


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything but the data that the classifier's weights depend on.

    Attributes:
        revision: raised when this file's code changes what a recipe means.
        seed: of the initial weights, the order and the shifts.
        first_width: channels after the first convolution, doubled with each halving of the image.
        coarsest_pixels: the image is halved until it is at most as large.
        features: F, width of the layer whose output is compared.
        samples: length of the training.
        most_epochs: upper limit for small data sets, against overfitting.
        batch_size: samples a step.
        learning_rate: peak of the one-cycle schedule, for Adam.
        pixels_per_shift: images are shifted by up to side / this many pixels, one shift a batch: 1 on MNIST, 0 on 8x8.
    """

    revision: int = 2
    seed: int = 0
    first_width: int = 16
    coarsest_pixels: int = 7
    features: int = 128
    samples: int = 360_000
    most_epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 3e-3
    pixels_per_shift: int = 28


RECIPE = Recipe()


class _Network(nn.Module):
    def __init__(self, recipe: Recipe, image_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = image_shape
        maps = recipe.first_width
        stages: list[nn.Module] = []
        while len(stages) < MINIMUM_STAGES or max(height, width) > recipe.coarsest_pixels:
            pool = nn.MaxPool2d(2, ceil_mode=True)  # rounds up, so that odd sizes lose no row
            stages.append(nn.Sequential(nn.Conv2d(channels, maps, 3, padding=1), nn.ReLU(), pool))
            channels, maps = maps, 2 * maps
            height, width = (height + 1) // 2, (width + 1) // 2
        flat = nn.Linear(channels * height * width, recipe.features)
        self.body = nn.Sequential(*stages, nn.Flatten(), flat, nn.ReLU())
        self.head = nn.Linear(recipe.features, classes)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, F] and logits [N, K] of samples [N, C, H, W] in [-1, 1]."""
        features = self.body(samples)
        return features, self.head(features)


@dataclass(frozen=True)
class Classifier:
    """A trained classifier.

    Attributes:
        network: maps samples to features and logits.
        accuracy: on the held-out images.
        sha256: of its weights, hexadecimal.
    """

    network: _Network
    recipe: Recipe
    accuracy: float
    sha256: str

    @property
    def dimensions(self) -> int:
        """F."""
        return self.recipe.features

    def facts(self) -> dict[str, object]:
        """What identifies the features, as plain values."""
        return {"kind": KIND, "dimensions": self.dimensions, "sha256": self.sha256}

    def extract(self, pixels: Bytes) -> tuple[Features, NDArray[np.float64]]:
        """Compute features and class probabilities.

        Args:
            pixels: [N, C, H, W].

        Returns:
            Features [N, F] and class probabilities [N, K].
        """
        features, logits = _infer(self.network, pixels)
        return features.double().numpy(), logits.double().softmax(dim=1).numpy()


def obtain(data: ImageData, cache: Path | None = None, recipe: Recipe = RECIPE) -> Classifier:
    """Read the classifier for a data set from the cache, or train and cache it.

    Args:
        cache: folder; None is `$XDG_CACHE_HOME/ganymede/classifiers`, by default under `~/.cache`.

    Returns:
        The classifier, in evaluation mode, on the CPU.
    """
    train_labels, held_out_labels, names = labels_of(data)
    identity = json.dumps([dataclasses.asdict(recipe), data.sha256], sort_keys=True)
    folder = _cache_folder() if cache is None else cache
    path = folder / f"{data.name}-{hashlib.sha256(identity.encode()).hexdigest()}.pt"
    network = _fresh(recipe, data.image_shape, len(names))
    weights = _read(path)
    if weights is None:
        _train(network, recipe, data, train_labels)
        _write(path, network)
    else:
        network.load_state_dict(weights)
    network.eval().requires_grad_(False)
    _, logits = _infer(network, data.held_out)
    accuracy = float((logits.argmax(dim=1).numpy() == held_out_labels).mean())
    return Classifier(network, recipe, accuracy, _hash(network))


def labels_of(data: ImageData) -> tuple[Labels, Labels, tuple[str, ...]]:
    """Get the labels of both parts and the names of the classes.

    Returns:
        [N] of the training part, [M] of the held-out part, and K names.

    Raises:
        ValueError: if the data has no labels.
    """
    if data.train_labels is None or data.held_out_labels is None or data.label_names is None:
        raise ValueError(f"{data.name} has no labels to train a classifier with")
    return data.train_labels, data.held_out_labels, data.label_names


def _fresh(recipe: Recipe, image_shape: tuple[int, int, int], classes: int) -> _Network:
    """A network with the recipe's initial weights; the process's random state is restored."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return _Network(recipe, image_shape, classes)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Use one thread: rounding of sums depends on the number of threads, and so would the weights' hash."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def _train(network: _Network, recipe: Recipe, data: ImageData, labels: Labels) -> None:
    """Train a fresh network in place."""
    images, targets = tensor(data.train), torch.from_numpy(labels.copy())
    chance = np.random.default_rng(recipe.seed)
    shift = min(data.image_shape[1:]) // recipe.pixels_per_shift
    steps = min(recipe.samples, recipe.most_epochs * len(images)) // recipe.batch_size
    optimizer = torch.optim.Adam(network.parameters(), recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    order = np.empty(0, np.int64)
    for _ in progress(range(steps), "training a classifier", steps):
        while len(order) < recipe.batch_size:
            order = np.concatenate([order, chance.permutation(len(images))])
        rows, order = torch.from_numpy(order[: recipe.batch_size]), order[recipe.batch_size :]
        batch = _shifted(to_floats(images[rows]), shift, chance)
        loss = cross_entropy(network(batch)[1], targets[rows])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _shifted(samples: Tensor, largest: int, chance: np.random.Generator) -> Tensor:
    down, right = chance.integers(0, 2 * largest + 1, size=2)
    height, width = samples.shape[2:]
    padded = pad(samples, [largest] * 4, value=LOW)
    return padded[:, :, down : down + height, right : right + width]


def _infer(network: _Network, pixels: Bytes) -> tuple[Tensor, Tensor]:
    """Features [N, F] and logits [N, K]."""
    with torch.no_grad():
        batch = max(1, min(INFERENCE_BATCH, MOST_POSITIONS // (pixels.shape[2] * pixels.shape[3])))
        parts = torch.split(tensor(pixels), batch)
        batches = [network(to_floats(part)) for part in progress(parts, "classifying", len(parts), "batch")]
    features, logits = zip(*batches, strict=True)
    return torch.cat(features), torch.cat(logits)


def _hash(network: _Network) -> str:
    """SHA-256 of the weights as little-endian float32, in the order of definition."""
    digest = hashlib.sha256()
    for weight in network.state_dict().values():
        digest.update(weight.numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "ganymede" / "classifiers"


def _read(path: Path) -> dict[str, Tensor] | None:
    """The cached weights; None if they are missing or unreadable."""
    try:
        weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None
    return weights


def _write(path: Path, network: _Network) -> None:
    content = io.BytesIO()
    torch.save(network.state_dict(), content)
    with suppress(OSError):  # a cache that cannot be written only costs time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
