"""The random inputs of an export's generator, by purpose.

Every purpose has its own draw from each stream, so that the calibration is fitted on samples that set no batch
statistics, and the evaluation uses samples that fitted no calibration. The seed is fixed, so two exports of one run
agree.
"""

from enum import IntEnum
from typing import Final

from training.export.graphs.interface import CODE, LATENT, Interface
from training.export.graphs.runtime import Arrays
from training.state.batches import EXPORT, EXPORT_CODES, EXPORT_LABELS, codes, labels, latents

SEED: Final = 0


class Purpose(IntEnum):
    """Purposes of latents; append new ones at the end."""

    BATCH_STATISTICS = 0
    PARITY = 1
    GOLDEN = 2
    CALIBRATION = 3
    EVALUATION = 4
    PREVIEW = 5


def draw(purpose: Purpose, count: int, interface: Interface) -> Arrays:
    """Draw a generator's inputs.

    Returns:
        [count, ...] by the names of the generator's inputs, always the same.
    """
    drawn = latents(SEED, EXPORT, purpose, count, interface.latent_size, interface.prior)
    inputs: Arrays = {LATENT: drawn.numpy()}
    if interface.told:
        inputs[interface.told] = labels(SEED, EXPORT_LABELS, purpose, count, interface.condition_count).numpy()
    if interface.codes is not None:
        inputs[CODE] = codes(SEED, EXPORT_CODES, purpose, count, interface.codes).numpy()
    return inputs
