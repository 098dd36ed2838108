"""InfoGAN's bound on a channel whose information is known, while a code head learns to read it.

The "sample" is the code after a symmetric channel: itself with a known probability, any other symbol otherwise.

References:
    Chen et al., InfoGAN (2016), equations 4 and 5.
"""

import math
from typing import Final

import torch
from torch import Tensor

from training.codes import Codes
from training.objectives.infogan import information_bounds
from training.verification.figures.base import BLACK, BLUE, GREEN, ORANGE, SOFT, Drawing, panels

CATEGORIES: Final = 10
CODES: Final = Codes(categorical={"class": CATEGORIES}, continuous={})
FAITHFUL: Final = (1.0, 0.8, 0.5)  # probability that the symbol is the code
COLOURS: Final = (BLUE, GREEN, ORANGE)
STEPS: Final = 120
RATE: Final = 0.1
OF_EACH: Final = 450  # a multiple of nine, the number of the other symbols


def bound(steps: int = STEPS) -> Drawing:
    """Train a code head for three channels, and compare its bound with the information.

    Args:
        steps: of gradient descent by Adam, on the whole channel at once.

    Returns:
        Facts: for each channel the information and the bound at the end, nats; and the largest excess of any bound on
        the way over the information.
    """
    figure, (panel,) = panels(1, wide=1.35)
    facts: dict[str, float] = {}
    excess = -math.inf
    for faithful, colour in zip(FAITHFUL, COLOURS, strict=True):
        code, symbol = channel(faithful)
        limit, bounds = information(faithful), learned(code, symbol, steps)
        panel.plot(bounds, color=colour, label=f"symbol is the code {faithful:.0%} of the time")
        panel.axhline(limit, color=colour, linestyle="--", linewidth=1.2)
        panel.text(steps, limit + 0.03, f"I(c; x) = {limit:.2f}", ha="right", fontsize=8, color=colour)
        facts |= {f"information_{faithful:g}": limit, f"bound_{faithful:g}": bounds[-1]}
        excess = max(excess, max(bounds) - limit)
    panel.axhline(math.log(CATEGORIES), color=SOFT, linestyle=":")
    panel.text(0, math.log(CATEGORIES) + 0.03, "H(c) = log 10", fontsize=8, color=BLACK)
    panel.set(
        title="The code head's bound rises to the information, and never above it",
        xlabel="steps of the code head Q",
        ylabel="L_I = E log Q(c|x) + H(c), nats",
        ylim=(-0.1, 2.6),
    )
    panel.legend(loc="center right", bbox_to_anchor=(1.0, 0.4))
    return Drawing(figure, {**facts, "excess": excess})


def channel(faithful: float) -> tuple[Tensor, Tensor]:
    """Codes and symbols [N] of the channel, each pair as often as it occurs."""
    kept = round(OF_EACH * faithful)
    other = (OF_EACH - kept) // (CATEGORIES - 1)
    counts = torch.full((CATEGORIES, CATEGORIES), other).fill_diagonal_(kept)
    pairs = torch.cartesian_prod(torch.arange(CATEGORIES), torch.arange(CATEGORIES))
    code, symbol = (place.repeat_interleave(counts.flatten()) for place in pairs.T)
    return code, symbol


def information(faithful: float) -> float:
    """I(c; x) of the channel, nats: log 10 less the entropy of what a code becomes."""
    other = (1 - faithful) / (CATEGORIES - 1)
    entropy = -sum(share * math.log(share) for share in (faithful, *[other] * (CATEGORIES - 1)) if share > 0)
    return math.log(CATEGORIES) - entropy


def learned(code: Tensor, symbol: Tensor, steps: int) -> list[float]:
    """Train a table of logits, [symbol, code], by the objective's bound; returns the bound at every step, nats."""
    head = torch.zeros(CATEGORIES, CATEGORIES, dtype=torch.float64, requires_grad=True)
    drawn = torch.eye(CATEGORIES, dtype=torch.float64)[code]
    optimizer = torch.optim.Adam([head], lr=RATE)
    bounds = []
    for _ in range(steps + 1):
        categorical, _ = information_bounds(CODES, head[symbol], drawn)
        bounds.append(categorical.item())
        optimizer.zero_grad()
        torch.autograd.backward(-categorical)
        optimizer.step()
    return bounds
