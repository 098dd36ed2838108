"""Trains and exports a pair on a mixture, and counts its samples by mode; the protocol of the ring and the grid.

References:
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.1 and table 1.
"""

from typing import Final, cast

import numpy as np

from training.data import MixtureConfig
from training.data.mixtures import mixture
from training.evaluation.mixtures import SAMPLES, cover
from training.experiments.base import Metrics, Setting, Target
from training.experiments.trained import exported, trained
from training.export.graphs.export_seeds import Purpose

PROTOCOL: Final = (
    "2,500 samples of the exported graph; high quality is within three standard deviations of the nearest mode, "
    "captured is a mode that is nearest to such a sample, reverse KL is that of their histogram from the uniform one, "
    "in nats (samples of the mixture itself: 98.89 % of high quality)."
)
LEAST_HIGH_QUALITY = 0.95  # PacGAN's packed rows lie between 91 and 98 %
LARGEST_REVERSE_KL = 0.01  # above that of the mixture's own samples


def targets(modes: int) -> tuple[Target, ...]:
    """Make targets better than every row of PacGAN's table, in every seed.

    Returns:
        Targets for the number of modes, reverse KL and high quality.
    """
    return (
        Target(metric="modes", bound="at_least", value=modes, over="every_seed"),
        Target(metric="reverse_kl", bound="at_most", value=LARGEST_REVERSE_KL, over="every_seed"),
        Target(metric="high_quality", bound="at_least", value=LEAST_HIGH_QUALITY, over="every_seed"),
    )


def measure(config_name: str, setting: Setting) -> Metrics:
    """Train one pair on a mixture and count the samples of its exported graph.

    Args:
        config_name: stem of a configuration whose data is a mixture.

    Returns:
        Captured modes, reverse KL in nats, share of high quality.
    """
    pair, run, _ = exported(trained(config_name, setting), setting)
    samples = pair.generated(Purpose.EVALUATION, SAMPLES).samples.astype(np.float32, copy=False)
    found = cover(samples, mixture(cast("MixtureConfig", run.config.data)))
    return {
        "modes": float(found.captured),
        "reverse_kl": found.reverse_kl,
        "high_quality": found.high_quality_share,
    }
