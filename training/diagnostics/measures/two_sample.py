"""A classifier two-sample test: can a small fresh network tell generated samples from real ones?

    real, generated ──▶ half of each: train a classifier ──▶ the other half: in how many pairs is the real one the
                                                              likelier to be real (AUC)?   1/2: never   1: always

The discriminator of a run may be too weak, too flat or overfitted, so its logits do not describe the samples. This
classifier is trained from samples alone, always in the same way, so its figure is comparable between objectives. Images
of more than 32 pixels are averaged to at most 32, so that invisible traces do not decide. Vectors are judged by their
nearest neighbours, which need no scale.

Shapes: N samples to train on and M to test with, of ... numbers each.

References:
    Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests (2017): sections 3 and 5, networks and neighbours.
    DeLong, DeLong and Clarke-Pearson (1988): the standard error of the area under a ROC curve.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits

from training.diagnostics.measures.distances import distances
from training.progress import progress

IMAGE_AXES: Final = 4  # batch, channels, height and width
FINEST_PIXELS: Final = 32  # of a side that the network sees
WIDTH: Final = 8  # channels of the first convolution
STEPS: Final = 400  # with 64 of each kind
PAIRS: Final = 64  # real samples a step, and as many generated ones
LEARNING_RATE: Final = 4e-3  # peak of the one-cycle schedule
WEIGHT_DECAY: Final = 1e-2  # AdamW's default
LEAKY_SLOPE: Final = 0.2  # DCGAN's
FEWEST_NEIGHBOURS: Final = 5

Score = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class TwoSample:
    """A fresh classifier's result on samples that it was not trained on.

    Attributes:
        accuracy: share of correct classifications, both kinds weighted equally; 1/2 is chance.
        accuracy_error: its standard error.
        auc: probability that a real sample looks more real than a generated one; 1/2 is a coin.
        auc_error: its standard error.
        tested: test samples of each kind.
    """

    accuracy: float
    accuracy_error: float
    auc: float
    auc_error: float
    tested: int


def measure(real: tuple[Tensor, Tensor], generated: tuple[Tensor, Tensor], seed: int) -> TwoSample:
    """Train a classifier and test it.

    Args:
        real: [N, ...] to train on and [M, ...] to test with.
        seed: of the classifier's weights and batches.

    Returns:
        The figures; the same for the same samples and seed.
    """
    train_on = _by_network if real[0].dim() == IMAGE_AXES else _by_neighbours
    score = train_on(real[0], generated[0], seed)
    on_real, on_generated = score(real[1]).double(), score(generated[1]).double()
    area, error = auc(on_real, on_generated)
    right = _right(on_real) + _right(-on_generated)
    asked = len(on_real) + len(on_generated)
    # Agresti and Coull's (1998) two successes and two failures more: so the error is not 0 if all answers are right.
    smoothed = (right + 2) / (asked + 4)
    return TwoSample(
        accuracy=right / asked,
        accuracy_error=math.sqrt(smoothed * (1 - smoothed) / (asked + 4)),
        auc=area,
        auc_error=error,
        tested=len(on_real),
    )


def auc(positive: Tensor, negative: Tensor) -> tuple[float, float]:
    """Compute the area under the ROC curve: how often a positive's score exceeds a negative's, ties counted half.

    Args:
        positive: [P] scores, P at least 2.
        negative: [N] scores, N at least 2.

    Returns:
        The area, and its standard error by DeLong et al.
    """
    apart = positive.double()[:, None] - negative.double()[None, :]
    wins = (apart > 0).double() + (apart == 0).double() / 2
    error = (wins.mean(1).var() / len(positive) + wins.mean(0).var() / len(negative)).sqrt()
    return float(wins.mean()), float(error)


def _right(scores: Tensor) -> float:
    """Number of scores above 0, those at 0 counted half."""
    return float((scores > 0).double().sum() + (scores == 0).double().sum() / 2)


def _by_network(real: Tensor, generated: Tensor, seed: int) -> Score:
    """A convolutional network of two layers, trained on images [N, C, H, W]."""
    images = torch.cat([_coarse(real), _coarse(generated)])
    mean, deviation = images.mean(), images.std().clamp_min(torch.finfo(images.dtype).tiny)
    chance = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _network(images)
    targets = torch.cat([torch.ones(PAIRS), torch.zeros(PAIRS)])
    optimizer = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=STEPS)
    for _ in progress(range(STEPS), "telling samples from real ones", STEPS):
        rows = torch.cat(
            [
                torch.randint(len(real), (PAIRS,), generator=chance),
                len(real) + torch.randint(len(generated), (PAIRS,), generator=chance),
            ]
        )
        loss = binary_cross_entropy_with_logits(network((images[rows] - mean) / deviation)[:, 0], targets)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    network.eval().requires_grad_(False)

    def score(samples: Tensor) -> Tensor:
        logits: Tensor = network((_coarse(samples) - mean) / deviation)
        return logits[:, 0]

    return score


def _network(images: Tensor) -> nn.Sequential:
    body = nn.Sequential(
        nn.Conv2d(images.shape[1], WIDTH, 3, stride=2, padding=1),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.Conv2d(WIDTH, 2 * WIDTH, 3, stride=2, padding=1),
        nn.LeakyReLU(LEAKY_SLOPE),
        nn.Flatten(),
    )
    with torch.no_grad():
        (features,) = body(images[:1])[0].shape
    return nn.Sequential(body, nn.Linear(features, 1))


def _coarse(images: Tensor) -> Tensor:
    """Images of at most 32 pixels a side, by averaging."""
    factor = -(-max(images.shape[2:]) // FINEST_PIXELS)
    return avg_pool2d(images, factor, ceil_mode=True) if factor > 1 else images


def _by_neighbours(real: Tensor, generated: Tensor, _seed: int) -> Score:
    """The share of real ones among the nearest of vectors [N, D], less a half."""
    known = torch.cat([real, generated])
    is_real = torch.cat([torch.ones(len(real)), torch.zeros(len(generated))])
    # The square root grows without bound and slower than the number of samples, as consistency asks; odd: no ties.
    neighbours = max(FEWEST_NEIGHBOURS, math.isqrt(len(real)) // 2 * 2 + 1)

    def score(samples: Tensor) -> Tensor:
        chosen = distances(samples, known).topk(min(neighbours, len(known)), largest=False).indices
        return is_real[chosen].mean(dim=1) - 1 / 2

    return score
