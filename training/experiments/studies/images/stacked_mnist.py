"""A thousand classes of stacked digits: how many are drawn, and how evenly?

References:
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 4.2 and table 2.
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024), table 2.
"""

from typing import Final, cast

import numpy as np

from training.data import ImageData, MnistConfig, StackedMnistConfig, mnist
from training.data.stacked_mnist import CLASSES
from training.evaluation import classifier, modes
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.trained import exported, trained
from training.export.graphs.export_seeds import Purpose

CONFIG: Final = "r3gan-stacked-mnist"
LARGEST_KL = 0.12  # twice PacGAN's packed rows, with a smaller network and less time


def measure(setting: Setting) -> Metrics:
    """Train one pair and count the classes that its exported graph draws.

    Args:
        setting: of one seed; its folder keeps the run.

    Returns:
        Classes drawn, their divergence from uniform in nats and that of as many held-out triples.
    """
    pair, run, data = exported(trained(CONFIG, setting), setting)
    path = setting.data_path or cast("StackedMnistConfig", run.config.data).path
    judge = classifier.obtain(mnist.load(MnistConfig(path=path)))
    pixels = pair.generated(Purpose.EVALUATION, modes.SAMPLES).samples.astype(np.uint8, copy=False)
    found = modes.count_stacked(pixels, judge)
    floor = modes.count_stacked(cast("ImageData", data).held_out[: modes.SAMPLES], judge)
    return {
        "modes": float(found.captured),
        "kl": found.kl_to_uniform,
        "kl_of_real_triples": floor.kl_to_uniform,
        "classifier_accuracy": judge.accuracy,
    }


EXPERIMENT: Final = Experiment(
    name="stacked_mnist",
    system="RpGAN + R1 + R2 on stacked MNIST, convolutional, 32 channels at full resolution",
    protocol="26,000 quantised samples of the exported graph, each channel judged by our classifier of single digits; "
    "classes of the thousand that are drawn, and KL of their histogram from the uniform one, in nats.",
    paper="DCGAN 99 modes, 3.40 (VEEGAN, Srivastava et al. 2017, table 2); PacDCGAN2 1,000 modes, 0.06 (Lin et al. "
    "2018, table 2)",
    seeds=1,
    targets=(
        Target(metric="modes", bound="at_least", value=float(CLASSES)),
        Target(metric="kl", bound="at_most", value=LARGEST_KL),
    ),
    run=measure,
    shown=("kl_of_real_triples",),
)
