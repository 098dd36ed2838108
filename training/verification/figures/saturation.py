"""Saturation: the gradient that a generator gets from a discriminator that wins.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), section 3.
    Arjovsky and Bottou, Towards Principled Methods for Training Generative Adversarial Networks (2017), theorem 2.4.
"""

import math
from typing import Final

import numpy as np
import torch

from training.data import digits
from training.data.pixels import to_floats
from training.diagnostics.measures.saturation import gradient_norms
from training.networks.base import Task
from training.networks.mlp import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig
from training.objectives import Minimax, NonSaturating
from training.objectives.base import Batch, Networks
from training.verification.figures.base import BLUE, ORANGE, SOFT, Drawing, panels
from training.verification.generator_gradients import slope_at

ANSWERS: Final = np.array([1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99])
EARLY: Final = 0.01  # D(G(z)) of a discriminator that has just won
STEPS: Final = 240
LOOK_EVERY: Final = 4
BATCH: Final = 128
RATE: Final = 1e-3
SEED: Final = 0
LATENTS: Final = 16
WIDTHS: Final = (128, 128)
NAMES: Final = ("E log(1 − D), minimax", "−E log D, non-saturating")


def saturation(steps: int = STEPS) -> Drawing:
    """Compute both slopes for every answer of D, and both gradients while D learns against an untrained generator.

    Args:
        steps: of the discriminator.

    Returns:
        Facts: the sizes of both slopes at D(G(z)) = 0.01; D(G(z)) at the end of its training, and by what factor each
        gradient has changed since its start.
    """
    slopes = [
        [abs(slope_at(game, math.log(answer / (1 - answer)))) for answer in ANSWERS]
        for game in (Minimax(), NonSaturating())
    ]
    looks, answers, norms = _against_an_untrained_generator(steps)
    figure, (by_answer, by_step) = panels(2)
    for slope, norm, colour, marker, name in zip(slopes, norms, (ORANGE, BLUE), ("o", "s"), NAMES, strict=True):
        by_answer.loglog(ANSWERS, slope, color=colour, marker=marker, markersize=4, label=name)
        by_step.semilogy(looks, norm, color=colour, marker=marker, markersize=3, label=name)
    by_answer.axvline(EARLY, color=SOFT, linestyle=":")
    by_answer.set(
        title="The slope of log(1 − D) is D: it vanishes as D wins",
        xlabel="D(G(z)), probability of real",
        ylabel="|slope of the generator's loss by the logit|",
    )
    by_answer.legend()
    by_step.semilogy(looks, answers, color=SOFT, linestyle="--", label="D(G(z)), mean")
    by_step.set(
        title=f"8×8 digits, untrained G: D(G(z)) falls to {answers[-1]:.1g}",
        xlabel="steps of D (the generator waits)",
        ylabel="norm of the generator's gradient",
    )
    by_step.legend()
    early = int(np.flatnonzero(ANSWERS == EARLY)[0])
    return Drawing(
        figure,
        {
            "minimax_slope": slopes[0][early],
            "non_saturating_slope": slopes[1][early],
            "answer": answers[-1],
            "minimax_factor": norms[0][-1] / norms[0][0],
            "non_saturating_factor": norms[1][-1] / norms[1][0],
        },
    )


def _against_an_untrained_generator(steps: int) -> tuple[list[int], list[float], tuple[list[float], list[float]]]:
    """Steps, mean answers on generated samples, and the gradient's norm under both losses."""
    images = to_floats(torch.from_numpy(digits.load(digits.DigitsConfig()).train))
    task = Task(sample_shape=images.shape[1:])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        generator = Generator(GeneratorConfig(latent_size=LATENTS, widths=WIDTHS), task)
        critic = Discriminator(DiscriminatorConfig(widths=WIDTHS), task)
        optimizer = torch.optim.Adam(critic.parameters(), lr=RATE)
        fixed = torch.randn(BATCH, LATENTS)
        looks: list[int] = []
        answers: list[float] = []
        norms: tuple[list[float], list[float]] = ([], [])
        for step in range(steps + 1):
            if step % LOOK_EVERY == 0:
                logits = critic(generator(fixed))
                looks.append(step)
                answers.append(float(logits.detach().sigmoid().mean()))
                for seen, norm in zip(norms, gradient_norms(logits, list(generator.parameters())), strict=True):
                    seen.append(norm)
            real = images[torch.randint(len(images), (BATCH,))]
            optimizer.zero_grad()
            loss = Minimax().critic_loss(Networks(generator, critic), Batch(real, torch.randn(BATCH, LATENTS))).total
            torch.autograd.backward(loss)
            optimizer.step()
    return looks, answers, norms
