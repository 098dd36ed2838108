"""The best discriminator, and the value of the game against it.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), proposition 1 and theorem 1.
    Salimans et al., Improved Techniques for Training GANs (2016), section 3.4.
"""

import math
from typing import Final

import numpy as np
import torch
from torch import Tensor

from training.data.mixtures import Mixture
from training.objectives import Minimax
from training.objectives.base import Batch, Networks
from training.verification.figures.base import BLACK, BLUE, GREEN, ORANGE, SOFT, Drawing, panels
from training.verification.games import Critic, identity, trained_critic
from training.verification.laws import (
    FAR,
    GRID,
    TWO_HILLS,
    Numbers,
    density,
    even_shares,
    integral,
    jensen_shannon,
    log_density,
    on_the_line,
    quantile_function,
)

STEPS: Final = 600
SMOOTHED: Final = 0.9  # the usual one-sided smoothing
LEAST_DENSITY: Final = 4e-3  # where there is less, hardly a sample has trained the critic
SAMPLES: Final = 4_000
SHIFTS: Final = np.linspace(0, 8, 33)
TRAINED_SHIFTS: Final = (0.0, 1.0, 2.0, 3.0, 4.5, 6.0)
TRAINED_STEPS: Final = 200
DATA: Final = on_the_line((1.0,), (0.0,), (1.0,))


def optimal_discriminator() -> Drawing:
    """Train a discriminator between two known laws, with and without smoothing, and compare it with D*.

    Returns:
        Facts: the mean distance of each from its optimum over both laws.
    """
    p, q = density(TWO_HILLS), density(FAR)
    places = torch.from_numpy(GRID)[:, None]
    answers = {
        target: trained_critic(Minimax(real_target=target), TWO_HILLS, FAR, STEPS)(places).sigmoid().numpy()
        for target in (1.0, SMOOTHED)
    }
    shown = p + q > LEAST_DENSITY
    errors = {target: integral(np.abs(found - target * p / (p + q)) * (p + q) / 2) for target, found in answers.items()}
    figure, (laws, best) = panels(2)
    laws.fill_between(GRID[shown], p[shown], color=BLUE, alpha=0.35, label="p, the data", linewidth=0)
    laws.fill_between(GRID[shown], q[shown], color=ORANGE, alpha=0.35, label="q, the generator", linewidth=0)
    laws.set(title="Two laws whose densities are known", xlabel="sample x", ylabel="density", ylim=(0, None))
    laws.legend()
    for (target, found), colour, name in zip(
        answers.items(), (GREEN, BLACK), ("trained", "trained, real target 0.9"), strict=True
    ):
        best.plot(GRID[shown], found[shown], color=colour, label=name)
        exact = (target * p / (p + q))[shown]
        best.plot(GRID[shown], exact, "--", color=SOFT, linewidth=2.6, dashes=(1, 2), label="p/(p+q)" * (target == 1))
    best.set(
        title=f"A trained D is p/(p+q), {errors[1.0]:.4f} off on average",
        xlabel="sample x",
        ylabel="D(x), probability of real",
        ylim=(-0.03, 1.03),
    )
    best.legend()
    return Drawing(figure, {"error": errors[1.0], "smoothed_error": errors[SMOOTHED]})


def value(shifts: Numbers = SHIFTS) -> Drawing:
    """Compute the value of the game as the generator's law moves away from the data's.

    Args:
        shifts: distances of the generator's mean from the data's, in standard deviations; the first is 0.

    Returns:
        Facts: V(D*) where the laws agree and where they are farthest apart, its largest distance from 2 JSD - log 4,
        and the largest excess of a trained critic's V over it.
    """
    exact = np.array([value_of(shift, best_critic(shift)) for shift in shifts])
    theory = np.array([2 * jensen_shannon(density(DATA), density(_shifted(s))) - math.log(4) for s in shifts])
    trained = np.array(
        [value_of(shift, trained_critic(Minimax(), DATA, _shifted(shift), TRAINED_STEPS)) for shift in TRAINED_SHIFTS]
    )
    bound = np.interp(TRAINED_SHIFTS, shifts, exact)
    figure, (panel,) = panels(1, wide=1.35)
    panel.plot(shifts, theory, color=BLUE, label="2 JSD − log 4, by quadrature")
    panel.plot(shifts[::2], exact[::2], "o", color=BLUE, markersize=4, label="V of the exact D*, by the objective")
    panel.plot(TRAINED_SHIFTS, trained, "D", color=ORANGE, markersize=5, label="V of a trained D")
    for level, name in ((-math.log(4), "−log 4: p = q"), (0.0, "0: disjoint, JSD = log 2")):
        panel.axhline(level, color=SOFT, linestyle=":")
        panel.text(shifts[-1], level - 0.02, name, ha="right", va="top", fontsize=8)
    panel.set(
        title="The value is least, −log 4, where the generator draws the data's law",
        xlabel="distance of the generator's mean from the data's, standard deviations",
        ylabel="V(D, G), nats",
        ylim=(-1.55, 0.1),
    )
    panel.legend(loc="center right")
    return Drawing(
        figure,
        {
            "least": exact[0],
            "farthest": exact[-1],
            "error": float(np.abs(exact - theory).max()),
            "trained_excess": float((trained - bound).max()),
        },
    )


def _shifted(shift: float) -> Mixture:
    return on_the_line((1.0,), (shift,), (1.0,))


def best_critic(shift: float) -> Critic:
    """Make D* between the data's law and the same law at a distance of `shift` standard deviations."""
    own = _shifted(shift)

    def critic(samples: Tensor) -> Tensor:
        return log_density(DATA, samples) - log_density(own, samples)

    return critic


def value_of(shift: float, critic: Critic) -> float:
    """Compute V(D, G) by the objective's own loss, on quantiles of both laws."""
    real, generated = (quantile_function(law)(even_shares(SAMPLES)) for law in (DATA, _shifted(shift)))
    return -Minimax().critic_loss(Networks(identity, critic), Batch(real, generated)).total.item()
