"""BiGAN on the line: an encoder that has to invert the generator, because a critic sees pairs.

References:
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), equation 3 and theorem 2.
"""

from typing import Final

import torch
from matplotlib.axes import Axes
from torch import nn

from training.networks.base import Task
from training.networks.encoder import Encoder, PerceptronConfig
from training.networks.mlp import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from training.objectives import BiGan
from training.verification.figures.base import BLUE, ORANGE, Drawing, panels
from training.verification.games import played
from training.verification.laws import TWO_HILLS, even_shares, quantile_function

STEPS: Final = 2_000
GAMMA: Final = 0.05
SEED: Final = 0
WIDTHS: Final = (64, 64)
POINTS: Final = 300
REACH: Final = 2.6  # of the latents that are drawn, standard deviations


def inversion(steps: int = STEPS) -> Drawing:
    """Train generator, encoder and the critic of their pairs, and show both joint laws before and after.

    Args:
        steps: of all players.

    Returns:
        Facts: mean |G(E(x)) - x| before and after, in standard deviations of the data.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        generator = Generator(GeneratorConfig(latent_size=1, widths=WIDTHS, activation="tanh"), Task(sample_shape=(1,)))
        encoder = Encoder(PerceptronConfig(widths=WIDTHS, norm="none"), Task(sample_shape=(1,)), 1)
        critic = Discriminator(DiscriminatorConfig(widths=WIDTHS), Task(sample_shape=(1,), joint_size=1))
    figure, axes = panels(2)
    facts = {}
    for axis, when, count in zip(axes, ("before", "after"), (0, steps), strict=True):
        played(BiGan(gamma_r1=GAMMA, gamma_r2=GAMMA), generator, critic, TWO_HILLS, count, encoder)
        facts[when] = _show(axis, generator, encoder)
        axis.set(xlabel="latent z", ylabel="sample x", xlim=(-REACH, REACH), ylim=(-3.6, 4.2))
        axis.legend(loc="upper right")
    axes[0].set_title(f"Before: the two joint laws differ (|G(E(x)) − x| = {facts['before']:.2f} σ)")
    axes[1].set_title(f"After {steps:,} steps E inverts G (|G(E(x)) − x| = {facts['after']:.2f} σ)")
    return Drawing(figure, facts)


def _show(axis: Axes, generator: nn.Module, encoder: nn.Module) -> float:
    """Draw pairs of both joint laws; mean reconstruction error in standard deviations of the data."""
    shares = even_shares(POINTS)
    real = quantile_function(TWO_HILLS)(shares)
    latents = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)[:, None]
    with torch.no_grad():
        codes, made = encoder.double()(real), generator.double()(latents)
        error = (generator(codes) - real).abs().mean() / real.std()
    axis.plot(latents, made, color=ORANGE, label="(z, G(z))")
    axis.plot(codes, real, ".", color=BLUE, markersize=3.5, label="(E(x), x), x from the data")
    return float(error)
