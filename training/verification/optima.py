"""Optima of the other critics on tables, the generator's losses there, and penalties in closed form.

    hinge           D* = sign(p - q), loss 2 (1 - TV)
    least squares   D* = (b p + a q)/(p + q); with a = -1, b = 1, c = 0 the generator descends Pearson's chi^2
    relativistic    a constant added to D changes no loss
    R1, slope       of the linear critic w x:  |w|^2 and (|w| - 1)^2

References:
    Lim and Ye, Geometric GAN (2017). Mao et al., Least Squares Generative Adversarial Networks (2017), section 3.2.
    Jolicoeur-Martineau, The relativistic discriminator (2018), section 4.1.
    Mescheder, Geiger and Nowozin (2018), equation 9. Gulrajani et al. (2017), equation 3.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from training.objectives import Hinge, LeastSquares, Relativistic, WassersteinGradientPenalty
from training.objectives.base import Batch, Networks
from training.objectives.least_squares import CODINGS
from training.verification.base import Finding
from training.verification.games import TableGame, identity

TABLE: Final = TableGame(
    torch.tensor([2, 5, 3, 10], dtype=torch.float64), torch.tensor([6, 1, 5, 8], dtype=torch.float64)
)
WEIGHT: Final = torch.tensor([0.6, -1.2, 0.4], dtype=torch.float64)  # of norm 1.4
SHIFT: Final = 123.0
SAMPLES: Final = 64
SAMPLES_SEED: Final = 0
TOLERANCE: Final = 1e-9
NUDGE: Final = 0.1
LEAST_SQUARES = "Mao 2017, sec. 3.2"


def verify_optima() -> Iterator[Finding]:
    """Verify hinge, least squares, relativistic pairing, R1 and the gradient penalty."""
    yield from _hinge()
    yield from _least_squares()
    yield from _linear_critic()


def _hinge() -> Iterator[Finding]:
    best = (TABLE.p - TABLE.q).sign()
    variation = float((TABLE.p - TABLE.q).abs().sum() / 2)

    def loss(logits: Tensor) -> float:
        return Hinge().critic_loss(TABLE.players(logits), TABLE.batch).total.item()

    yield Finding(
        identity="hinge: loss at D* = sign(p - q) is 2 (1 - TV)",
        source="Lim & Ye 2017",
        measured=loss(best),
        expected=2 * (1 - variation),
        tolerance=TOLERANCE,
    )
    nudges = [sign * NUDGE * one for one in torch.eye(len(best), dtype=torch.float64) for sign in (-1, 1)]
    yield Finding(
        identity="hinge: no nudged critic loses less, the best of all single nudges",
        source="Lim & Ye 2017",
        measured=min(loss(best + nudge) for nudge in nudges),
        expected=2 * (1 - variation),
        tolerance=TOLERANCE,
        relation="at_least",
    )


def _least_squares() -> Iterator[Finding]:
    p, q = TABLE.p, TABLE.q
    for coding, (a, b, _) in CODINGS.items():
        objective = LeastSquares(coding="pearson" if coding == "pearson" else "binary")
        best = ((b * p + a * q) / (p + q)).requires_grad_()
        loss = objective.critic_loss(TABLE.players(best), TABLE.batch).total
        (slope,) = torch.autograd.grad(loss, best)
        yield Finding(
            identity=f"least squares, {coding}: slope of the loss at (b p + a q)/(p + q)",
            source=LEAST_SQUARES,
            measured=slope.abs().max().item(),
            expected=0.0,
            tolerance=TOLERANCE,
        )
    a, b, c = CODINGS["pearson"]
    best = (b * p + a * q) / (p + q)
    generator = LeastSquares(coding="pearson").generator_loss(TABLE.players(best), TABLE.batch).total.item()
    real_side = float((p * (best - c).square()).sum()) / 2  # constant for the generator; the paper adds it
    yield Finding(
        identity="least squares, pearson: twice the generator's side is chi^2(p + q, 2 q)",
        source=LEAST_SQUARES,
        measured=2 * (generator + real_side),
        expected=float(((2 * q - (p + q)).square() / (p + q)).sum()),
        tolerance=TOLERANCE,
    )


def _linear_critic() -> Iterator[Finding]:
    chance = torch.Generator().manual_seed(SAMPLES_SEED)
    real, latents = torch.randn(2, SAMPLES, len(WEIGHT), generator=chance, dtype=torch.float64)
    batch = Batch(real, latents)
    nets = Networks(identity, lambda samples: samples @ WEIGHT)
    shifted = Networks(identity, lambda samples: samples @ WEIGHT + SHIFT)
    game = Relativistic(gamma_r1=2.0)  # half of gamma is the weight of the square
    for name, loss in (("critic", game.critic_loss), ("generator", game.generator_loss)):
        yield Finding(
            identity=f"relativistic {name}: loss less that of D + {SHIFT:g}",
            source="Jolicoeur-Martineau 2018, sec. 4.1",
            measured=(loss(nets, batch).total - loss(shifted, batch).total).item(),
            expected=0.0,
            tolerance=TOLERANCE,
        )
    yield Finding(
        identity="R1 of the linear critic w x is |w|^2",
        source="Mescheder 2018, eq. 9",
        measured=game.critic_loss(nets, batch).parts["r1"].item(),
        expected=WEIGHT.square().sum().item(),
        tolerance=TOLERANCE,
    )
    anywhere = replace(batch, between=torch.full((SAMPLES, 1), 1 / 2))
    slope = WassersteinGradientPenalty(gamma_slope=1.0).critic_loss(nets, anywhere).parts["slope"].item()
    yield Finding(
        identity="gradient penalty of the linear critic w x is (|w| - 1)^2",
        source="Gulrajani 2017, eq. 3",
        measured=slope,
        expected=(WEIGHT.norm().item() - 1) ** 2,
        tolerance=TOLERANCE,
    )
