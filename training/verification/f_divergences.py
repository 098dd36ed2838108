"""The eleven rows of f-GAN: their conjugates by brute force, their activations, and the bound through the objective.

The two laws are tables of the same points, so that both sides of the bound are finite sums and agree to rounding. The
optimal critic's logits are found by bisection, as every activation increases.

References:
    Nowozin, Cseke and Tomioka, f-GAN (2016), equations 2 to 5, tables 1, 2, 5 and 6.
"""

from collections.abc import Iterator
from typing import Final, get_args

import numpy as np
import torch
from torch import Tensor

from training.objectives import FGan
from training.objectives.fgan import Divergence, Name
from training.verification.base import Finding
from training.verification.games import TableGame, table_of

POINTS: Final = np.linspace(-3, 3, 25)
TABLE: Final = table_of(np.exp(-(POINTS**2) / 2), np.exp(-((POINTS - 0.5) ** 2) / (2 * 0.8**2)), total=10_000)
RATIOS: Final = torch.logspace(-2.03, 2.01, 21, dtype=torch.float64)  # p/q at which conjugates are compared
FINE_RATIOS: Final = torch.logspace(-4, 4, 200_001, dtype=torch.float64)  # among which the supremum is sought
LOGITS: Final = torch.linspace(-30, 30, 601, dtype=torch.float64)
BISECTIONS: Final = 200  # halve an interval of 10^4 down to rounding
LARGEST_LOGIT: Final = 1e4
PERTURBATIONS: Final = 20
PERTURBATION_SEED: Final = 0
CONJUGATE_TOLERANCE: Final = 1e-6  # the fine grid's spacing of 1e-4 leaves an error of its square
SUM_TOLERANCE: Final = 1e-9


def verify_f_divergences() -> Iterator[Finding]:
    """Verify four identities a row: the conjugate, the activation, the bound where it is tight, the bound elsewhere."""
    for name in get_args(Name):
        objective = FGan(divergence=name)
        row, label = objective.row, name.replace("_", " ")
        yield Finding(
            identity=f"{label}: f*(t) = sup (u t - f(u)), relative difference",
            source="Nowozin 2016, eq. 2, table 6",
            measured=conjugate_error(row),
            expected=0.0,
            tolerance=CONJUGATE_TOLERANCE,
        )
        yield Finding(
            identity=f"{label}: share of logits that g maps into dom f*",
            source="Nowozin 2016, table 6",
            measured=share_in_domain(row),
            expected=1.0,
            tolerance=0.0,
        )
        divergence = float((TABLE.q * row.f(TABLE.p / TABLE.q)).sum())
        best = best_logits(row, TABLE.p / TABLE.q)
        yield Finding(
            identity=f"{label}: bound at T* = f'(p/q) is D_f(P||Q)",
            source="Nowozin 2016, eq. 4 and 5",
            measured=bound(objective, TABLE, best),
            expected=divergence,
            tolerance=SUM_TOLERANCE,
        )
        yield Finding(
            identity=f"{label}: no critic exceeds it, the best of {PERTURBATIONS} perturbed",
            source="Nowozin 2016, eq. 4",
            measured=max(bound(objective, TABLE, logits) for logits in _perturbed(best)),
            expected=divergence,
            tolerance=SUM_TOLERANCE,
            relation="at_most",
        )


def conjugate_error(row: Divergence) -> float:
    """Compute the largest relative difference of f* from a brute-force supremum, in the critics' range."""
    slopes = row.slope(RATIOS)
    supremum = (slopes[:, None] * FINE_RATIOS - row.f(FINE_RATIOS)).max(dim=1).values
    return float(((row.conjugate(slopes) - supremum).abs() / (1 + supremum.abs())).max())


def share_in_domain(row: Divergence) -> float:
    """Compute the share of logits that g maps to where f* is finite."""
    answers = row.activation(LOGITS)
    low, high = row.domain
    inside = (answers >= low) & (answers <= high) & row.conjugate_of_activation(LOGITS).isfinite()
    return float(inside.double().mean())


def best_logits(row: Divergence, ratios: Tensor) -> Tensor:
    """Find the logits v with g(v) = f'(p/q), by bisection.

    Args:
        ratios: [K] p/q.

    Returns:
        [K]; very large where f' lies at the end of the domain.
    """
    wanted = row.slope(ratios)
    low, high = torch.full_like(wanted, -LARGEST_LOGIT), torch.full_like(wanted, LARGEST_LOGIT)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        below = row.activation(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high


def bound(objective: FGan, table: TableGame, logits: Tensor) -> float:
    """Compute E_p T - E_q f*(T) by the objective's critic loss."""
    return -objective.critic_loss(table.players(logits), table.batch).total.item()


def _perturbed(logits: Tensor) -> Iterator[Tensor]:
    chance = torch.Generator().manual_seed(PERTURBATION_SEED)
    for _ in range(PERTURBATIONS):
        yield logits + torch.randn(len(logits), generator=chance, dtype=torch.float64) / 2
