"""Does the critic's estimate during training correlate with the quality of samples?

A GAN's discriminator estimates the Jensen-Shannon divergence, a WGAN's critic the Wasserstein distance; both are
recorded during training with an independent distance. That is measured on the trained generator, not on its average,
because the critic judges that one.

The generator has the paper's small learning rate, so that the critic follows it; with the larger rate of the shipped
configuration the estimate lags.

References:
    Arjovsky, Chintala and Bottou, Wasserstein GAN (2017), section 4.2, figures 3 and 4.
    Goodfellow et al., Generative Adversarial Nets (2014), theorem 1: V = 2 JSD - log 4 at the optimal discriminator.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from training import data as sources
from training.config import Config, DiagnosticsConfig
from training.data import ImageData
from training.data.pixels import to_bytes
from training.evaluation import classifier
from training.evaluation.distances import frechet_distance
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.trained import configured
from training.export.graphs.inference_networks import plain
from training.loop.trainer import Trainer
from training.state.batches import PROBE, latents

LOOKS: Final = 40
SAMPLES: Final = 2_000  # of each measurement, from the same latents
LEAST_CORRELATION: Final = 0.9
WGAN_RATE: Final = 5e-5  # the paper's
DCGAN_RATE: Final = 2e-4  # Radford et al.'s (2016)
FIGURE: Final = "correlation.svg"
FIGURE_INCHES: Final = (9.0, 3.6)


def wasserstein(means: Mapping[str, float]) -> float:
    """The critic's estimate, E D(x) - E D(G(z))."""
    return means["critic/wasserstein_estimate"]


def jensen_shannon(means: Mapping[str, float]) -> float:
    """The discriminator's, (V + log 4) / 2 in nats, where its loss is -V."""
    return (math.log(4) - means["critic/adversarial"]) / 2


@dataclass(frozen=True)
class Game:
    """A game and its estimate.

    Attributes:
        config: stem of the shipped configuration.
        generator_rate: learning rate of the generator.
        estimate: maps the readings since the last measurement to a distance.
    """

    config: str
    generator_rate: float
    title: str
    estimate: Callable[[Mapping[str, float]], float]


GAMES: Final = {
    "wgan": Game("wgan-digits", WGAN_RATE, "Wasserstein estimate", wasserstein),
    "gan": Game("dcgan-digits", DCGAN_RATE, "Jensen-Shannon estimate, nats", jensen_shannon),
}


@dataclass(frozen=True)
class Curve:
    """Measurements of one game.

    Attributes:
        samples: training time.
        estimates: mean of the critic's since the last measurement.
        distances: Fréchet's, of the trained generator.
    """

    samples: list[int] = field(default_factory=list)
    estimates: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)

    @property
    def correlation(self) -> float:
        """Spearman's, of ranks."""
        return float(spearmanr(self.estimates, self.distances).statistic)


def measure(setting: Setting) -> Metrics:
    """Train both games with one seed, and draw the figure.

    Args:
        setting: of one seed; its folder gets the figure.

    Returns:
        Of each game the rank correlation of estimate and Fréchet distance, and the distance at the end.
    """
    curves = {name: follow(_config(game, setting), game.estimate, setting) for name, game in GAMES.items()}
    setting.folder.mkdir(parents=True, exist_ok=True)
    draw(curves, setting.folder / FIGURE)
    return {
        **{f"{name}_correlation": curve.correlation for name, curve in curves.items()},
        **{f"{name}_frechet": curve.distances[-1] for name, curve in curves.items()},
    }


def follow(
    config: Config, estimate: Callable[[Mapping[str, float]], float], setting: Setting, samples: int = SAMPLES
) -> Curve:
    """Train a configuration to its end, measuring at equal intervals.

    Args:
        config: of a run on labelled images.
        estimate: maps readings to a distance.
        samples: of each measurement.
    """
    data = cast("ImageData", sources.load(config.data))
    judge = classifier.obtain(data)
    real, _ = judge.extract(data.train)
    keys = config.generator
    asked = latents(config.seed, PROBE, 0, samples, keys.latent_size, keys.prior)
    trainer, curve = Trainer(config, data), Curve()
    while not trainer.finished:
        trainer.step()
        if trainer.passed(config.trainer.total_samples // LOOKS):
            trainer.check_finite()
            drawn, _ = judge.extract(_drawn(trainer, asked))
            curve.samples.append(trainer.samples_seen)
            curve.estimates.append(estimate(trainer.take_means()))
            curve.distances.append(frechet_distance(drawn, real))
    setting.say(f"{config.name}: rank correlation {curve.correlation:.3f}, Fréchet distance {curve.distances[-1]:.1f}")
    return curve


def draw(curves: Mapping[str, Curve], path: Path) -> None:
    """Draw a panel for each game: the estimate, and the distance on a second axis.

    Args:
        path: of the figure, in the format that its suffix names.
    """
    figure = Figure(figsize=FIGURE_INCHES, layout="constrained")
    for panel, (name, curve) in zip(figure.subplots(1, len(curves)), curves.items(), strict=True):
        title = GAMES[name].title
        estimate = panel.plot(curve.samples, curve.estimates, color="C0", label=title)
        other = panel.twinx()
        distance = other.semilogy(curve.samples, curve.distances, color="C1", label="Fréchet distance")
        panel.set(title=f"{name.upper()}: rank correlation {curve.correlation:.2f}", xlabel="real samples seen")
        panel.legend(handles=[*estimate, *distance])
    figure.savefig(path)


def _config(game: Game, setting: Setting) -> Config:
    shipped = configured(game.config, setting)
    pace = replace(shipped.trainer, learning_rate_generator=game.generator_rate)
    return replace(shipped, trainer=pace, diagnostics=DiagnosticsConfig(every_samples=0))


def _drawn(trainer: Trainer, asked: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    generator = plain(trainer.players.generator)
    with torch.no_grad():
        return to_bytes(generator(asked.to(trainer.device))).cpu().numpy()


EXPERIMENT: Final = Experiment(
    name="wgan_correlation",
    system="WGAN with clamped weights, beside the non-saturating GAN, DCGAN networks, 8x8 digits",
    protocol="Spearman's correlation of the critic's estimate (mean between two looks) with the Fréchet distance of "
    "2,000 samples of the playing generator to the training data, over 40 looks at equal distances from the first "
    "sample to the last; the GAN's estimate is (V + log 4) / 2",
    paper="figures, no number: the estimate falls as samples improve, the GAN's stays near log 2 or grows (Arjovsky et "
    "al. 2017, figures 3 and 4)",
    seeds=3,
    targets=(Target(metric="wgan_correlation", bound="at_least", value=LEAST_CORRELATION, over="every_seed"),),
    run=measure,
    shown=("gan_correlation", "wgan_frechet", "gan_frechet"),
)
