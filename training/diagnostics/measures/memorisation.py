"""Whether a generator repeats its training set: how near its samples come to it, beside real samples that are new.

A sample of the data that no network has seen has some distance to its nearest training sample. A generator that has
learnt the distribution is about as far; one that has learnt the samples is nearer than new data ever is. A median alone
would not tell: blurred samples are near to everything. So it is the share of copies that speaks, samples nearer
than 99 of 100 new ones. The other end of the same scale tells whether samples are like the data at all: those that are
farther from the training set than 99 of 100 new ones are not near it.

Shapes: N samples of ... numbers each.

References:
    Theis, van den Oord and Bethge, A note on the evaluation of generative models (2016), section 3.4 and figure 5: why
    nearest neighbours alone say little about overfitting, and only the comparison is used here.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.data.pixels import to_floats
from training.diagnostics.measures.distances import nearest

NEW_QUANTILE: Final = 0.01  # nearer than this share of new data: a copy
BLOCK_ROWS: Final = 4_096  # training samples compared at once


@dataclass(frozen=True)
class Memorisation:
    """Distances to the nearest training sample.

    Attributes:
        generated: median over generated samples, in the samples' units.
        held_out: median over held-out samples.
        copies: share of generated samples nearer than the 1 % quantile of held-out ones; about 0.01 for fresh data.
        near: share of generated samples no farther than their 99 % quantile; about 0.99 for fresh data, 0 for noise.
    """

    generated: float
    held_out: float
    copies: float
    near: float


def measure(generated: Tensor, held_out: NDArray[np.generic], train: NDArray[np.generic]) -> Memorisation:
    """Compare generated samples and held-out ones with the training set.

    Args:
        generated: [N, ...] in the data's float range.
        held_out: [M, ...] as the data has them.
        train: [L, ...] likewise.
    """
    drawn, new = _nearest_of(generated, train), _nearest_of(_floats(held_out), train)
    return Memorisation(
        generated=float(drawn.median()),
        held_out=float(new.median()),
        copies=float((drawn < new.quantile(NEW_QUANTILE)).double().mean()),
        near=float((drawn <= new.quantile(1 - NEW_QUANTILE)).double().mean()),
    )


def _nearest_of(samples: Tensor, train: NDArray[np.generic]) -> Tensor:
    blocks = [
        nearest(samples, _floats(train[start : start + BLOCK_ROWS])) for start in range(0, len(train), BLOCK_ROWS)
    ]
    return torch.stack(blocks).min(dim=0).values


def _floats(samples: NDArray[np.generic]) -> Tensor:
    values = torch.from_numpy(samples.copy())
    return to_floats(values) if values.dtype == torch.uint8 else values
