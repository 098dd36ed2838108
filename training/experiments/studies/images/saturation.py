"""Saturation: against a winning discriminator, the minimax loss loses its gradient and the non-saturating one does not.

A generator is trained for a while and then frozen; a discriminator is trained against it from scratch, and the norm of
the generator's gradient is recorded under both losses. Nothing is exported, because graphs have no weight gradients.

Packing replaces the batch normalisation of the paper's discriminator, which also judges a batch as one.

References:
    Arjovsky and Bottou, Towards Principled Methods for Training Generative Adversarial Networks (2017), theorem 2.4,
        figures 2 and 3.
    Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018).
    Goodfellow et al., Generative Adversarial Nets (2014), section 3.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final, cast

import torch
from matplotlib.figure import Figure
from torch import nn

from training import data as sources
from training import networks
from training.config import DiagnosticsConfig
from training.data import Data
from training.diagnostics.measures.saturation import gradient_norms
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.trained import completed, configured
from training.networks.dcgan import DiscriminatorConfig
from training.objectives import Minimax
from training.objectives.base import Batch, Networks
from training.schedule import cosine
from training.state import checkpoint
from training.state.batches import PROBE, BatchStream, latents
from training.state.checkpoint import Run

CONFIG: Final = "dcgan-digits"
EPOCHS: Final = (1, 3, 5)  # few, because a discriminator must win against each generator in time
CRITIC_STEPS: Final = 8_000  # twice the paper's
CRITIC_RATE: Final = 2e-3  # at first, ten times DCGAN's; it falls to 0, so that the discriminator converges
CRITIC_WIDTHS: Final = (96, 192)  # three times the run's own discriminator
PACK: Final = 8
BATCH: Final = 128  # images
LOOK_EVERY_STEPS: Final = 50
LATENTS: Final = 256  # of each measurement, the same in all, and not used in training
LOOKS: Final = 3  # at the end, whose median is taken, because single norms vary
LOSSES: Final = {"minimax": "log(1 - D), minimax", "non_saturating": "-log D, non-saturating"}
FIGURE: Final = "saturation.svg"
FIGURE_INCHES: Final = (9.0, 3.6)

Norms = dict[str, list[float]]  # of the generator's gradient at each measurement, by loss


def measure(setting: Setting, epochs: Sequence[int] = EPOCHS, steps: int = CRITIC_STEPS) -> Metrics:
    """Train a discriminator against generators of several ages, and draw the figure.

    Args:
        setting: of one seed; its folder gets a run for each generator, and the figure.
        epochs: for how many passes over the data each generator is trained.

    Returns:
        Orders of magnitude by which each norm has fallen, for the least favourable generator (`minimax_fall` the least,
        `non_saturating_fall` the most) and for each, with the norms at both ends.
    """
    curves: dict[int, Norms] = {}
    for count in epochs:
        run, data = _trained(count, setting)
        curves[count] = follow(run, data, steps)
        setting.say(f"{count} epochs: {steps:,} steps of a new discriminator")
    draw(curves, setting.folder / FIGURE)
    figures = {
        f"{loss}_{figure}_{count}_epochs": value
        for count, norms in curves.items()
        for loss in LOSSES
        for figure, value in _ends(norms[loss]).items()
    }
    return {
        "minimax_fall": min(figures[f"minimax_fall_{count}_epochs"] for count in epochs),
        "non_saturating_fall": max(figures[f"non_saturating_fall_{count}_epochs"] for count in epochs),
        **figures,
    }


def follow(run: Run, data: Data, steps: int) -> Norms:
    """Train a discriminator from scratch against a frozen generator.

    Args:
        run: provides the averaged generator and the configuration.

    Returns:
        Norms by loss, from before the first step to after the last.
    """
    config, generator = run.config, run.generator.requires_grad_(True)
    parameters, keys, pace = list(generator.parameters()), config.generator, config.trainer
    looked_at = latents(config.seed, PROBE, 0, LATENTS, keys.latent_size, keys.prior)
    stream = BatchStream(data, torch.device("cpu"), seed=config.seed, batch_size=BATCH, generator=config.generator)
    discriminator = _fresh_discriminator(run)
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=CRITIC_RATE, betas=(pace.beta1, pace.beta2), fused=True)
    nets = Networks(generator, discriminator)
    norms: Norms = {loss: [] for loss in LOSSES}
    for step in range(steps + 1):
        if step % LOOK_EVERY_STEPS == 0:
            logits = discriminator(generator(looked_at))
            for seen, norm in zip(norms.values(), gradient_norms(logits, parameters), strict=True):
                seen.append(norm)
        optimizer.param_groups[0]["lr"] = cosine(CRITIC_RATE, 0.0, step / steps)
        optimizer.zero_grad()
        loss = Minimax().critic_loss(nets, Batch(stream.real(step)[0], stream.latents(step))).total
        torch.autograd.backward(loss)
        optimizer.step()
    return norms


def fall(norms: Sequence[float]) -> float:
    """Compute the orders of magnitude by which a norm has fallen.

    Args:
        norms: positive, in order.

    Returns:
        The decimal logarithm of the first norm, against an untrained discriminator, over the median of the last few;
        negative where it has grown.
    """
    return math.log10(norms[0] / median(norms[-LOOKS:]))


def draw(curves: Mapping[int, Norms], path: Path) -> None:
    """Draw a panel for each loss, with a curve for each generator.

    Args:
        curves: norms by loss, by the generator's epochs.
        path: of the figure, in the format that its suffix names.
    """
    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    panels = figure.subplots(1, len(LOSSES), sharey=True)
    for panel, (loss, title) in zip(panels, LOSSES.items(), strict=True):
        for count, norms in curves.items():
            steps = [LOOK_EVERY_STEPS * look for look in range(len(norms[loss]))]
            panel.semilogy(steps, norms[loss], label=str(count))
        panel.set(title=title, xlabel="steps of the discriminator")
        panel.grid(visible=True)
    panels[0].set_ylabel("norm of the generator's gradient")
    panels[0].legend(title="epochs of the generator")
    figure.savefig(path)


def _trained(epochs: int, setting: Setting) -> tuple[Run, Data]:
    """Train a generator for some epochs; runs of the same seed start equally."""
    shipped = configured(CONFIG, setting)
    data = sources.load(shipped.data)
    config = replace(
        shipped,
        trainer=replace(shipped.trainer, total_samples=epochs * len(data.train)),
        diagnostics=DiagnosticsConfig(every_samples=0),  # this game is measured below
    )
    folder = completed(config, setting.folder / f"epochs-{epochs}", setting)
    return checkpoint.load_run(folder), data


def _fresh_discriminator(run: Run) -> nn.Module:
    """A larger discriminator than the run's, of packs, with other initial weights."""
    config = replace(cast("DiscriminatorConfig", run.config.discriminator), widths=CRITIC_WIDTHS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config.seed)  # the run draws its generator first, so weights differ
        return networks.discriminator(config, replace(run.task, pack=PACK))


def _ends(norms: Sequence[float]) -> Metrics:
    return {"first": norms[0], "last": median(norms[-LOOKS:]), "fall": fall(norms)}


EXPERIMENT: Final = Experiment(
    name="saturation",
    system="DCGAN on 8x8 digits, the generator kept after 1, 3 and 5 epochs, a new discriminator of packs of eight",
    protocol="orders of magnitude by which the norm of the generator's gradient falls over 8,000 discriminator steps "
    "of 128 samples, on 256 latents; the ratio of the norm before the first step and the median of the last three of "
    "161 looks, by the least favourable of the three generators",
    paper="Arjovsky and Bottou 2017, figures 2 and 3, ages 1, 10 and 25: log(1 - D) falls by up to 5 orders in 4,000 "
    "steps, -log D grows",
    seeds=3,
    targets=(
        Target(metric="minimax_fall", bound="at_least", value=3.0, over="every_seed"),
        Target(metric="non_saturating_fall", bound="at_most", value=1.0, over="every_seed"),
    ),
    run=measure,
    shown=tuple(f"minimax_fall_{count}_epochs" for count in EPOCHS),
)
