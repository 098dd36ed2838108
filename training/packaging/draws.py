"""Which latents an export uses, and what for.

Every purpose has a draw of its own from one stream, so that none sees another's latents: the calibration is fitted on
samples that set no batch statistics, and the evaluation judges samples that fitted no calibration. The seed is fixed:
two exports of one run agree.
"""

from enum import IntEnum
from typing import Final

from torch import Tensor

from training.batches import EXPORT, latents

SEED: Final = 0


class Purpose(IntEnum):
    """What latents are for; a new purpose goes to the end."""

    BATCH_STATISTICS = 0
    PARITY = 1
    GOLDEN = 2
    CALIBRATION = 3
    EVALUATION = 4
    PREVIEW = 5


def draw(purpose: Purpose, count: int, latent_size: int) -> Tensor:
    """Latents from the standard normal prior.

    Args:
        purpose: what for.
        count: how many.
        latent_size: Z.

    Returns:
        [count, Z] float32, always the same.
    """
    return latents(SEED, EXPORT, purpose, count, latent_size)
