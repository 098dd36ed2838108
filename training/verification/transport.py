"""The Wasserstein distance by its dual: with the exact critic, by linear programming, and with a trained critic.

    W1(p, q) = sup { E_p D - E_q D : |D(x) - D(y)| <= |x - y| }

On the line the optimal critic is known: its slope is 1 where more generated than real samples lie to the left, else -1.
scipy computes the distance from the distribution functions, without any critic.

References:
    Arjovsky, Chintala and Bottou, Wasserstein GAN (2017), equation 2.
    Gulrajani et al., Improved Training of Wasserstein GANs (2017), equation 3.
"""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.stats import wasserstein_distance
from torch import Tensor

from training.objectives import Wasserstein, WassersteinGradientPenalty
from training.objectives.base import Batch, Networks, Objective
from training.verification.base import Finding
from training.verification.games import Critic, identity, trained_critic
from training.verification.laws import FAR, TWO_HILLS, Numbers, even_shares, quantile_function

DRAWS: Final = 2_000
FEW_DRAWS: Final = 40  # the programme has a constraint for each ordered pair
DRAWS_SEED: Final = 0
QUANTILES: Final = 20_000
STEPS: Final = 600
SLOPE_PLACES: Final = torch.linspace(-4, 5, 2_001, dtype=torch.float64)[:, None]
TRAINED_TOLERANCE: Final = 0.05  # of a distance near 1: the penalised critic's slope is not exactly 1 everywhere

DUALITY = "Arjovsky 2017 (WGAN), eq. 2"


def verify_transport() -> Iterator[Finding]:
    """Verify the estimate of an exact and of a trained critic, and a linear programme, against scipy's distance."""
    chance = np.random.default_rng(DRAWS_SEED)
    real, generated = (law.sample(chance, DRAWS)[:, 0].astype(np.float64) for law in (TWO_HILLS, FAR))
    yield Finding(
        identity="E D(x) - E D(G(z)) of the exact critic on the line = W1 of the samples",
        source=DUALITY,
        measured=estimate(Wasserstein(), exact_critic(real, generated), real, generated),
        expected=float(wasserstein_distance(real, generated)),
        tolerance=1e-9,
    )
    few_real, few_generated = real[:FEW_DRAWS], generated[:FEW_DRAWS]
    yield Finding(
        identity="largest E D(x) - E D(G(z)) over 1-Lipschitz D by linear programming = W1",
        source=DUALITY,
        measured=best_by_programming(few_real, few_generated),
        expected=float(wasserstein_distance(few_real, few_generated)),
        tolerance=1e-9,
    )
    yield from _trained()


def _trained() -> Iterator[Finding]:
    """A critic trained with the gradient penalty, over its steepest slope: a lower bound of W1 that is near it.

    The penalty allows slopes above 1, so the estimate alone is no bound.
    """
    critic = trained_critic(WassersteinGradientPenalty(), TWO_HILLS, FAR, STEPS)
    real, generated = (quantile_function(law)(even_shares(QUANTILES))[:, 0].numpy() for law in (TWO_HILLS, FAR))
    steepest = largest_slope(critic, SLOPE_PLACES)
    distance = float(wasserstein_distance(real, generated))
    measured = estimate(Wasserstein(), critic, real, generated) / steepest
    yield Finding(
        identity="estimate of a critic trained with the gradient penalty, over its largest slope, near W1",
        source=DUALITY,
        measured=measured,
        expected=distance,
        tolerance=TRAINED_TOLERANCE,
    )
    yield Finding(
        identity="that estimate never exceeds W1",
        source=DUALITY,
        measured=measured,
        expected=distance,
        tolerance=0.0,
        relation="at_most",
    )


def estimate(objective: Objective, critic: Critic, real: Numbers, generated: Numbers) -> float:
    """Compute the objective's E D(x) - E D(G(z)) on samples [N] of each side."""
    samples = [torch.from_numpy(side)[:, None] for side in (real, generated)]
    return objective.critic_loss(Networks(identity, critic), Batch(*samples)).parts["wasserstein_estimate"].item()


def exact_critic(real: Numbers, generated: Numbers) -> Critic:
    """Make the optimal critic between two sets of samples on the line.

    Its slope at x is 1 where more of the generated samples lie left of x than of the real ones, and -1 where fewer do.

    Args:
        real: [N].
        generated: [N].

    Returns:
        Samples among the given ones, [B, 1], to logits [B].
    """
    places = np.unique(np.concatenate([real, generated]))
    left_real, left_generated = (
        np.searchsorted(np.sort(side), places[:-1], side="right") / len(side) for side in (real, generated)
    )
    rises = np.sign(left_generated - left_real) * np.diff(places)
    heights = torch.from_numpy(np.concatenate([[0.0], np.cumsum(rises)]))
    known = torch.from_numpy(places)
    return lambda samples: heights[torch.searchsorted(known, samples[:, 0])]


def best_by_programming(real: Numbers, generated: Numbers) -> float:
    """Maximise E D(x) - E D(G(z)) over all 1-Lipschitz functions on the samples.

    Args:
        real: [N].
        generated: [M].

    Returns:
        The optimum of the dual programme: a height for each sample, a constraint for each ordered pair.
    """
    places = np.concatenate([real, generated])
    gain = np.concatenate([np.full(len(real), 1 / len(real)), np.full(len(generated), -1 / len(generated))])
    above, below = np.nonzero(~np.eye(len(places), dtype=bool))
    differences = np.zeros((len(above), len(places)))
    rows = np.arange(len(above))
    differences[rows, above], differences[rows, below] = 1, -1
    programme = linprog(-gain, differences, np.abs(places[above] - places[below]), bounds=(None, None))
    return -float(programme.fun)


def largest_slope(critic: Critic, places: Tensor) -> float:
    """Compute the steepest slope of a critic at points [N, 1]."""
    heights = critic(places)
    return float((heights.diff().abs() / places[:, 0].diff()).max())
