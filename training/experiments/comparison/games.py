"""The games that are compared: what each changes of the one common configuration, and the learning rates it may have.

Penalties, momenta, critic steps and targets are each game's own, from its paper or its shipped configuration; nothing
but the learning rate is tuned, and every game has as many rates to choose from.
"""

from dataclasses import dataclass, field
from typing import Final

from training import config as configuration
from training.config import Config

BATCH_SIZE: Final = 64
TOTAL_SAMPLES: Final = 128_000
EVALUATIONS: Final = 8  # of a run
DIAGNOSED_SAMPLES: Final = 12_800
RATES: Final = (3e-4, 1e-3, 3e-3, 1e-2)  # three of them are tried: the two in the middle, and one beyond the better

# The discriminator has no batch statistics, so that its score of a sample depends on that sample alone.
COMMON: Final[dict[str, dict[str, object]]] = {
    "data": {"kind": "mnist"},
    "generator": {"latent_size": 64, "widths": [64, 32], "upsampling": "transposed", "norm": "batch"},
    "discriminator": {"widths": [32, 64]},
    "trainer": {"batch_size": BATCH_SIZE, "beta1": 0.5, "beta2": 0.999, "ema_half_life_samples": 10_000},
}


@dataclass(frozen=True, kw_only=True)
class Game:
    """One row of the comparison.

    Attributes:
        title: in words.
        source: of the objective and of what is not tuned.
        tables: what it adds to or changes of the common tables; a table's keys are merged.
    """

    title: str
    source: str
    tables: dict[str, dict[str, object]] = field(default_factory=dict)


GAMES: Final[dict[str, Game]] = {
    "minimax": Game(
        title="minimax",
        source="Goodfellow et al. 2014, equation 1",
        tables={"objective": {"kind": "minimax"}},
    ),
    "non_saturating": Game(
        title="non-saturating",
        source="Goodfellow et al. 2014, section 3; DCGAN's Adam",
        tables={"objective": {"kind": "non_saturating"}},
    ),
    "smoothed": Game(
        title="non-saturating, real target 0.9",
        source="Salimans et al. 2016, section 3.4",
        tables={"objective": {"kind": "non_saturating", "real_target": 0.9}},
    ),
    "least_squares": Game(
        title="least squares",
        source="Mao et al. 2017, targets 0 and 1",
        tables={"objective": {"kind": "least_squares"}},
    ),
    "hinge": Game(
        title="hinge, spectral normalisation",
        source="Miyato et al. 2018; Adam (0, 0.9)",
        tables={
            "objective": {"kind": "hinge"},
            "discriminator": {"spectral_norm": True},
            "trainer": {"beta1": 0.0, "beta2": 0.9},
        },
    ),
    "wgan": Game(
        title="WGAN, clipped",
        source="Arjovsky et al. 2017: RMSprop, 5 critic steps; the bound 0.05 of `wgan-digits`",
        tables={
            "objective": {"kind": "wasserstein", "clip": 0.05},
            "trainer": {"optimizer": "rmsprop", "critic_steps": 5},
        },
    ),
    "wgan_gp": Game(
        title="WGAN, gradient penalty",
        source="Gulrajani et al. 2017: weight 10, 5 critic steps, Adam (0, 0.9)",
        tables={
            "objective": {"kind": "wasserstein_gp", "gamma_slope": 10.0},
            "trainer": {"critic_steps": 5, "beta1": 0.0, "beta2": 0.9},
        },
    ),
    "fgan_kl": Game(
        title="f-GAN, KL",
        source="Nowozin et al. 2016, non-saturating generator",
        tables={"objective": {"kind": "fgan", "divergence": "kl", "generator": "non_saturating"}},
    ),
    "fgan_pearson": Game(
        title="f-GAN, Pearson χ²",
        source="Nowozin et al. 2016, non-saturating generator",
        tables={"objective": {"kind": "fgan", "divergence": "pearson", "generator": "non_saturating"}},
    ),
    "fgan_hellinger": Game(
        title="f-GAN, squared Hellinger",
        source="Nowozin et al. 2016, non-saturating generator",
        tables={"objective": {"kind": "fgan", "divergence": "squared_hellinger", "generator": "non_saturating"}},
    ),
    "r3gan": Game(
        title="RpGAN + R1 + R2",
        source="Huang et al. 2024; weights 0.5 falling to 0.05 as in `r3gan-mnist`, Adam (0, 0.99)",
        tables={
            "objective": {"kind": "relativistic", "gamma_r1": 0.5, "gamma_r2": 0.5, "gamma_final_fraction": 0.1},
            "trainer": {"beta1": 0.0, "beta2": 0.99},
        },
    ),
    "feature_matching": Game(
        title="feature matching",
        source="Salimans et al. 2016, section 3.1",
        tables={"objective": {"kind": "feature_matching"}},
    ),
    "infogan": Game(
        title="InfoGAN",
        source="Chen et al. 2016: weights 1 and 0.1; one code of ten categories, two continuous ones",
        tables={
            "objective": {
                "kind": "infogan",
                "categorical": {"digit": 10},
                "continuous": {"slant": [-1.0, 1.0], "width": [-1.0, 1.0]},
                "weight_categorical": 1.0,
                "weight_continuous": 0.1,
            },
            "code_head": {"width": 64},
        },
    ),
    "bigan": Game(
        title="BiGAN",
        source="Donahue et al. 2017; an encoder as large as the discriminator",
        tables={
            "objective": {"kind": "bigan"},
            "encoder": {"kind": "convolutional", "widths": [32, 64]},
        },
    ),
}


def configured(name: str, *, rate: float, total_samples: int, seed: int, watched: bool = True) -> Config:
    """Make the configuration of one run.

    Args:
        name: of the game.
        rate: learning rate of both players.
        watched: whether it is measured while it trains, which changes nothing else.
    """
    game = GAMES[name]
    every = total_samples // EVALUATIONS
    pace: dict[str, object] = {
        "total_samples": total_samples,
        "learning_rate_generator": rate,
        "learning_rate_discriminator": rate,
        "grid_every_samples": total_samples,
        "checkpoint_every_samples": max(every, BATCH_SIZE),
    }
    # Without rolling back, a game that diverges shows it.
    watching: dict[str, object] = {
        "every_samples": DIAGNOSED_SAMPLES if watched else 0,
        "evaluate_every_samples": every if watched else 0,
        "rollback": 0,
    }
    layers: tuple[dict[str, dict[str, object]], ...] = (COMMON, game.tables, {"trainer": pace, "diagnostics": watching})
    tables: dict[str, dict[str, object]] = {}
    for layer in layers:
        for table, keys in layer.items():
            tables[table] = {**tables.get(table, {}), **keys}
    return configuration.from_tables({"name": f"comparison-{name}", "seed": seed, **tables})
