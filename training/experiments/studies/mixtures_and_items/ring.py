"""Eight modes on a circle, a hundredth of its radius wide: are all of them drawn, evenly, and hit?

References:
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), table 1.
"""

from functools import partial
from typing import Final

from training.experiments import mixture_coverage
from training.experiments.base import Experiment

EXPERIMENT: Final = Experiment(
    name="ring",
    system="RpGAN + R1 + R2 on the 8-mode ring, fully connected, Fourier features in the discriminator",
    protocol=mixture_coverage.PROTOCOL,
    paper="PacGAN (Lin et al. 2018, table 1), 10 runs: GAN 6.3 modes, 98.2 %, 0.45; the best packed 7.9 modes, 95.6 %, "
    "0.07",
    seeds=10,
    targets=mixture_coverage.targets(modes=8),
    run=partial(mixture_coverage.measure, "r3gan-ring"),
)
