"""The gradients of the original game's generator at the optimal discriminator, and the saturation of its two losses.

    grad E_q log(1 - D*) = grad 2 JSD(p, q)        grad E_q [-log D*] = grad [KL(q || p) - 2 JSD(p, q)]

D* is that of the present generator and held fixed. The right-hand sides are differences of quadratures, the left-hand
sides autograd's gradients of the objectives' generator losses.

References:
    Arjovsky and Bottou, Towards Principled Methods for Training Generative Adversarial Networks (2017), theorem 2.5.
    Goodfellow et al., Generative Adversarial Nets (2014), section 3.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from training.data.mixtures import Mixture
from training.objectives import Minimax, NonSaturating
from training.objectives.base import Batch, Networks
from training.verification.base import Finding
from training.verification.games import identity
from training.verification.laws import (
    TWO_HILLS,
    Numbers,
    density,
    even_shares,
    jensen_shannon,
    kullback_leibler,
    log_density,
    on_the_line,
    quantile_function,
)

MEAN, LOG_DEVIATION = 0.4, 0.2  # of the generator's normal law: off the data's, and overlapping it
DIFFERENCE: Final = 1e-4  # of a central difference: its error of order h^2 is far below the tolerance
SAMPLES: Final = 20_000
TOLERANCE: Final = 1e-3
SURE_LOGIT: Final = -10.0  # of a critic that has won: D = 4.5e-5

Game = Minimax | NonSaturating
Divergence = Callable[[Numbers, Numbers], float]  # of the data's and the generator's densities


@dataclass(frozen=True)
class _Descent:
    """The divergence that one of the generator's losses minimises."""

    game: Game
    statement: str
    source: str
    divergence: Divergence


DESCENTS: Final = (
    _Descent(
        Minimax(),
        "grad E log(1 - D*) = grad 2 JSD",
        "Arjovsky & Bottou 2017, proof of thm 2.5",
        lambda p, q: 2 * jensen_shannon(p, q),
    ),
    _Descent(
        NonSaturating(),
        "grad E [-log D*] = grad [KL(q||p) - 2 JSD]",
        "Arjovsky & Bottou 2017, thm 2.5",
        lambda p, q: kullback_leibler(q, p) - 2 * jensen_shannon(p, q),
    ),
)


def verify_generator_gradients() -> Iterator[Finding]:
    """Verify both gradients at D*, by the mean and by the logarithm of the deviation; both slopes at a sure critic."""
    for descent in DESCENTS:
        slopes = zip(gradient_at_best_critic(descent.game), _gradient_of(descent.divergence), strict=True)
        for parameter, (measured, expected) in zip(("mean", "log deviation"), slopes, strict=True):
            yield Finding(
                identity=f"{descent.statement}, by the {parameter}",
                source=descent.source,
                measured=measured,
                expected=expected,
                tolerance=TOLERANCE,
            )
    answer = 1 / (1 + math.exp(-SURE_LOGIT))
    for game, name, slope in ((Minimax(), "minimax", -answer), (NonSaturating(), "non-saturating", answer - 1)):
        yield Finding(
            identity=f"slope of the {name} generator by the logit, at logit -10",
            source="Goodfellow 2014, sec. 3",
            measured=slope_at(game, SURE_LOGIT),
            expected=slope,
            tolerance=1e-9,
        )


def gradient_at_best_critic(game: Game) -> tuple[float, float]:
    """Compute the gradient of a generator's loss by the mean and the logarithm of the deviation of its law."""
    theta = torch.tensor([MEAN, LOG_DEVIATION], dtype=torch.float64, requires_grad=True)
    noise = quantile_function(on_the_line((1.0,), (0.0,), (1.0,)))(even_shares(SAMPLES))
    own = _generated(MEAN, LOG_DEVIATION)

    def generator(latents: Tensor) -> Tensor:
        return theta[0] + theta[1].exp() * latents

    def best_critic(samples: Tensor) -> Tensor:
        return log_density(TWO_HILLS, samples) - log_density(own, samples)

    loss = game.generator_loss(Networks(generator, best_critic), Batch(noise, noise)).total
    by_mean, by_log_deviation = torch.autograd.grad(loss, theta)[0].tolist()
    return by_mean, by_log_deviation


def slope_at(game: Game, logit: float) -> float:
    """Compute the slope of a generator's loss by the logit of all samples."""
    shift = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    batch = Batch(torch.zeros(1, 1), torch.zeros(1, 1))
    loss = game.generator_loss(Networks(identity, lambda samples: shift.expand(len(samples))), batch).total
    return torch.autograd.grad(loss, shift)[0].item()


def _generated(mean: float, log_deviation: float) -> Mixture:
    return on_the_line((1.0,), (mean,), (math.exp(log_deviation),))


def _gradient_of(divergence: Divergence) -> tuple[float, float]:
    """The gradient of a divergence from the data by the generator's two parameters, as central differences."""
    p = density(TWO_HILLS)

    def slope(mean_step: float, deviation_step: float) -> float:
        ahead, behind = (
            divergence(p, density(_generated(MEAN + sign * mean_step, LOG_DEVIATION + sign * deviation_step)))
            for sign in (1, -1)
        )
        return (ahead - behind) / (2 * DIFFERENCE)

    return slope(DIFFERENCE, 0.0), slope(0.0, DIFFERENCE)
