"""Detects memorised samples: distances of generated samples to the training set, against those of held-out ones.

A generator that has learnt the distribution has samples about as far from their nearest training samples as held-out
samples are; one that has memorised has nearer ones. The median alone is not enough, because blurred samples are near to
everything, so copies are counted: samples nearer than 99 of 100 held-out ones. Samples farther from the training set
than 99 of 100 held-out ones are not near the data.

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
from training.progress import progress

NEW_QUANTILE: Final = 0.01  # nearer than this share of new data: a copy
BLOCK_ROWS: Final = 4_096  # training samples compared at once
BLOCK_NUMBERS: Final = 1 << 24  # of them, as doubles


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
        held_out: [M, ...] as the data stores them.
        train: [L, ...] as the data stores them.
    """
    drawn, new = _nearest_of(generated, train), _nearest_of(_floats(held_out), train)
    return Memorisation(
        generated=float(drawn.median()),
        held_out=float(new.median()),
        copies=float((drawn < new.quantile(NEW_QUANTILE)).double().mean()),
        near=float((drawn <= new.quantile(1 - NEW_QUANTILE)).double().mean()),
    )


def _nearest_of(samples: Tensor, train: NDArray[np.generic]) -> Tensor:
    rows = max(1, min(BLOCK_ROWS, BLOCK_NUMBERS // max(1, int(np.prod(train.shape[1:])))))
    starts = range(0, len(train), rows)
    blocks = [
        nearest(samples, _floats(train[start : start + rows]))
        for start in progress(starts, "comparing with the training set", len(starts), "block")
    ]
    return torch.stack(blocks).min(dim=0).values


def _floats(samples: NDArray[np.generic]) -> Tensor:
    values = torch.from_numpy(samples.copy())
    return to_floats(values) if values.dtype == torch.uint8 else values
