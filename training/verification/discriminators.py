"""The original game's optimal discriminator, by training and exactly, with and without smoothing.

    D* = alpha p / (p + q)        V(D*) = 2 JSD(p, q) - log 4   for alpha = 1

References:
    Goodfellow et al., Generative Adversarial Nets (2014), proposition 1, theorem 1.
    Salimans et al., Improved Techniques for Training GANs (2016), section 3.4.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch

from training.data.mixtures import Mixture
from training.objectives import Minimax
from training.objectives.base import Batch, Networks
from training.verification.base import Finding
from training.verification.games import Critic, TableGame, identity, trained_critic
from training.verification.laws import (
    FAR,
    GRID,
    NEAR,
    TWO_HILLS,
    density,
    even_shares,
    integral,
    jensen_shannon,
    log_density,
    quantile_function,
)

STEPS: Final = 600
SAMPLES: Final = 20_000  # quantiles: their mean is an integral to about four digits
SMOOTHED: Final = 0.9  # the usual one-sided smoothing
TABLE: Final = TableGame(torch.tensor([2.0, 5.0, 3.0]), torch.tensor([6.0, 1.0, 3.0]))
PAIRS: Final = {"near": (TWO_HILLS, NEAR), "far": (TWO_HILLS, FAR)}

PROPOSITION = "Goodfellow 2014, prop. 1"
THEOREM = "Goodfellow 2014, thm 1"
SMOOTHING = "Salimans 2016, sec. 3.4"


def verify_discriminators() -> Iterator[Finding]:
    """Verify D*, V(D*) and the estimate of JSD, with and without smoothing."""
    for distance, (real, generated) in PAIRS.items():
        critic = trained_critic(Minimax(), real, generated, STEPS)
        yield _answers(critic, real, generated, 1.0, f"trained D = p/(p + q), mean |difference|, {distance} laws")
        yield from _values(critic, real, generated, distance)
    critic = trained_critic(Minimax(real_target=SMOOTHED), TWO_HILLS, NEAR, STEPS)
    yield _answers(critic, TWO_HILLS, NEAR, SMOOTHED, "trained D = 0.9 p/(p + q) under smoothing, mean |difference|")
    yield _stationary(TABLE, 1.0, "slope of V at p/(p + q)", PROPOSITION)
    yield _stationary(TABLE, SMOOTHED, "slope of V at 0.9 p/(p + q) under smoothing", SMOOTHING)
    equilibrium = TableGame(TABLE.real, TABLE.real)
    yield _stationary(equilibrium, SMOOTHED, "slope of V at D = 0.45 where p = q, under smoothing", SMOOTHING)


def _answers(critic: Critic, real: Mixture, generated: Mixture, target: float, identity: str) -> Finding:
    """Mean distance of a trained D from the optimal one, over real and generated samples."""
    p, q = density(real), density(generated)
    answers = critic(torch.from_numpy(GRID)[:, None]).sigmoid().numpy()
    error = integral(np.abs(answers - target * p / (p + q)) * (p + q) / 2)
    source = PROPOSITION if target == 1 else SMOOTHING
    return Finding(identity=identity, source=source, measured=error, expected=0.0, tolerance=0.01)


def _values(trained: Critic, real: Mixture, generated: Mixture, distance: str) -> Iterator[Finding]:
    """The value of a trained D and of the exact one, against the divergence by quadrature."""
    divergence = jensen_shannon(density(real), density(generated))
    batch = Batch(*(quantile_function(law)(even_shares(SAMPLES)) for law in (real, generated)))

    def value(critic: Critic) -> float:
        return -Minimax().critic_loss(Networks(identity, critic), batch).total.item()

    def exact(samples: torch.Tensor) -> torch.Tensor:
        return log_density(real, samples) - log_density(generated, samples)

    best = 2 * divergence - math.log(4)
    yield Finding(
        identity=f"V(D*) = 2 JSD - log 4, exact D*, {distance} laws",
        source=THEOREM,
        measured=value(exact),
        expected=best,
        tolerance=1e-4,
    )
    yield Finding(
        identity=f"JSD estimate (V + log 4)/2 of a trained D, {distance} laws",
        source=THEOREM,
        measured=(value(trained) + math.log(4)) / 2,
        expected=divergence,
        tolerance=2e-3,
    )
    yield Finding(
        identity=f"no D exceeds 2 JSD - log 4: the trained one's V, {distance} laws",
        source=THEOREM,
        measured=value(trained),
        expected=best,
        tolerance=1e-4,
        relation="at_most",
    )


def _stationary(table: TableGame, target: float, identity: str, source: str) -> Finding:
    """The largest slope of the critic's loss at the optimum: 0, as the loss is convex in the logits."""
    best = (target * table.p / (table.p + table.q)).double().logit().requires_grad_()
    loss = Minimax(real_target=target).critic_loss(table.players(best), table.batch).total
    (slope,) = torch.autograd.grad(loss, best)
    return Finding(identity=identity, source=source, measured=slope.abs().max().item(), expected=0.0, tolerance=1e-6)
