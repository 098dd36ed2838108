"""InfoGAN's bound: at most the code's entropy, and equal to the mutual information for the optimal code head.

The generated "sample" is the code after a symmetric channel: the code itself with a known probability, any other symbol
otherwise. Its information about the code is known, and so is the optimal code head.

References:
    Chen et al., InfoGAN (2016), equations 4 and 5: L_I = E log Q(c|x) + H(c) <= I(c; G(z, c)) <= H(c).
"""

import math
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from training.codes import Codes
from training.objectives.infogan import information_bounds
from training.verification.base import Finding

CATEGORIES: Final = 10
CODES: Final = Codes(categorical={"class": CATEGORIES}, continuous={})
FAITHFUL_OF_100: Final = 64  # times that the symbol is the code; the nine others come up four times each
OTHER_OF_100: Final = 4
SURE: Final = 1e3  # a logit so large that the softmax is exactly one-hot
HEADS: Final = 200
SUREST: Final = 20.0  # e^20 against 1: nearly perfect
NOISE_SEED: Final = 0
TOLERANCE: Final = 1e-6
SOURCE: Final = "Chen 2016, eq. 4 and 5"


def verify_information() -> Iterator[Finding]:
    """Verify the bound of a perfect, of noisy and of the optimal code heads."""
    one_hot = torch.eye(CATEGORIES, dtype=torch.float64)
    yield Finding(
        identity="L_I of a code head that reads Cat(10) perfectly is log 10",
        source=SOURCE,
        measured=_bound(SURE * one_hot, one_hot),
        expected=math.log(CATEGORIES),
        tolerance=TOLERANCE,
    )
    chance = torch.Generator().manual_seed(NOISE_SEED)
    noise = torch.randn(HEADS, CATEGORIES, CATEGORIES, generator=chance, dtype=torch.float64)
    sureness = torch.linspace(0, SUREST, HEADS, dtype=torch.float64)
    heads = sureness[:, None, None] * one_hot + noise  # from blind to nearly perfect
    yield Finding(
        identity=f"L_I never exceeds log 10: the best of {HEADS} noisy code heads",
        source=SOURCE,
        measured=max(_bound(logits, one_hot) for logits in heads),
        expected=math.log(CATEGORIES),
        tolerance=TOLERANCE,
        relation="at_most",
    )
    counts = torch.full((CATEGORIES, CATEGORIES), OTHER_OF_100).fill_diagonal_(FAITHFUL_OF_100)
    code, symbol = (
        place.repeat_interleave(counts.flatten())
        for place in torch.cartesian_prod(torch.arange(CATEGORIES), torch.arange(CATEGORIES)).T
    )
    posterior = counts.double() / counts.sum(dim=0)  # of the code, given the symbol
    information = math.log(CATEGORIES) + float((posterior[:, 0] * posterior[:, 0].log()).sum())
    yield Finding(
        identity="L_I of the exact posterior is the information of a symmetric channel",
        source=SOURCE,
        measured=_bound(posterior.log().T[symbol], one_hot[code]),
        expected=information,
        tolerance=TOLERANCE,
    )


def _bound(logits: Tensor, drawn: Tensor) -> float:
    """The bound of the categorical code, nats, for logits and one-hot codes [B, 10]."""
    return information_bounds(CODES, logits, drawn)[0].item()
