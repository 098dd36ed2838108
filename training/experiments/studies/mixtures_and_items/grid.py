"""Twenty-five modes on a square grid, an eightieth of half its side wide: are all of them drawn, evenly, and hit?

References:
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), table 1.
"""

from functools import partial
from typing import Final

from training.experiments import mixture_coverage
from training.experiments.base import Experiment

EXPERIMENT: Final = Experiment(
    name="grid",
    system="RpGAN + R1 + R2 on the 25-mode grid, fully connected, Fourier features in the discriminator",
    protocol=mixture_coverage.PROTOCOL,
    paper="PacGAN (Lin et al. 2018, table 1), 10 runs: GAN 17.3 modes, 94.8 %, 0.70; the best packed 24.8 modes, "
    "93.6 %, 0.04",
    seeds=10,
    targets=mixture_coverage.targets(modes=25),
    run=partial(mixture_coverage.measure, "r3gan-grid"),
)
