"""Which modes of the data a generator draws, and how evenly.

What a mode is belongs to the data: the components of a mixture, known exactly; the classes of labelled images, as a
classifier sees them. A `ModeJudge` says which mode each sample is in, or that it is in none. A classifier puts noise
into some class, too, so a sample counts only if it is near the data at all.

Shapes: N samples.

References:
    Srivastava et al., VEEGAN (2017), section 4.1. Lin et al., PacGAN (2018), section 4: reverse KL.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

NO_MODE: Final = -1


@dataclass(frozen=True)
class ModeJudge:
    """Who knows the modes.

    Attributes:
        count: how many there are.
        assign: samples [N, ...] to the number of each one's mode, below `count`, or -1 for none: [N] int64.
        shares: [count] of the data, sum 1; the reference of the divergence.
    """

    count: int
    assign: Callable[[Tensor], NDArray[np.int64]]
    shares: NDArray[np.float64]


def readings(judge: ModeJudge, samples: Tensor, near: Tensor | None = None) -> dict[str, float]:
    """Describe samples by their modes.

    Args:
        judge: who knows the modes.
        samples: [N, ...].
        near: [N] bool, which samples are near the data; the others are in no mode. None counts all.

    Returns:
        `modes`, how many are drawn at least once; `mode_entropy` of their histogram, nats; `mode_reverse_kl`,
        KL(histogram || the data's shares), nats; `in_a_mode`, the share of samples that are in any. Without a sample
        in a mode there is no histogram: 0 modes, and the two figures of it are left out.
    """
    assigned = judge.assign(samples)
    if near is not None:
        assigned = np.where(near.numpy(), assigned, NO_MODE)
    histogram = np.bincount(assigned[assigned != NO_MODE], minlength=judge.count)
    inside = int(histogram.sum())
    found = {"modes": float((histogram > 0).sum()), "in_a_mode": inside / len(assigned)}
    if inside == 0:
        return found
    seen = histogram > 0
    shares = histogram[seen] / inside
    entropy = -float((shares * np.log(shares)).sum())
    cross_entropy = -float((shares * np.log(judge.shares[seen])).sum())
    return {**found, "mode_entropy": entropy, "mode_reverse_kl": cross_entropy - entropy}


def uniform(count: int) -> NDArray[np.float64]:
    """Equal shares, [count]."""
    return np.full(count, 1 / count)
