"""Advice on what to change in a configuration after a finding, without what is set already.

Each remedy maps the configuration to the keys to set, with their present values, or to nothing where they are set
already or do not fit (a pack with labels, an augmentation of vectors). The changed configuration is valid.

References:
    Goodfellow et al. (2014), section 3: the non-saturating loss. Salimans et al. (2016), section 3.4: smoothing.
    Lin et al., PacGAN (2018): packing. Mescheder, Geiger and Nowozin (2018): gradient penalties. Miyato et al. (2018):
    spectral normalisation. Karras et al., Training Generative Adversarial Networks with Limited Data (2020):
    augmentation. Sun, Fang and Schwing (2020): pairing. Tancik et al. (2020): Fourier features.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from training import config as configuration
from training.config import Config
from training.data import FolderConfig
from training.data.mixtures import MixtureConfig
from training.data.planted import PlantedConfig
from training.data.rating_files import InteractionsConfig
from training.tables import Value

Name = Literal[
    "diverged",
    "stalled",
    "constrained",
    "weak",
    "saturation",
    "collapse",
    "overfitting",
    "young",
    "outplayed",
    "missing",
    "oscillation",
    "memorised",
    "unlike",
    "distinguishable",
    "unfinished",
    "unmeasured",
    "inconclusive",
    "healthy",
]

MOST: Final = 4  # pieces of advice for a finding, the likeliest first
PLAIN_GAMES: Final = frozenset({"minimax", "non_saturating", "hinge", "least_squares", "wasserstein", "wasserstein_gp"})
USUAL_GAMMA: Final = 0.5  # of the shipped configurations, for images in [-1, 1] of 8 to 28 pixels
STEPS_OF_A_CLIPPED_CRITIC: Final = 5  # WGAN's
TENFOLD: Final = 10.0  # wrong penalties are usually wrong by orders of magnitude
USUAL_RATE: Final = 2e-4  # DCGAN's
SIDES_APART: Final = 10.0  # larger ratios of learning rates exceed those of two-time-scale training
LONGER: Final = 4  # times as long: too short runs are usually much too short
LARGEST_BATCH: Final = 512  # larger batches are no faster on a CPU
PACKS: Final = (2, 4)
OCTAVES: Final = 5  # resolves details of a thirtieth of the data's range


@dataclass(frozen=True)
class Advice:
    """One thing to try.

    Attributes:
        section: the configuration's table; empty if the advice is no key.
        keys: what to set there.
        reason: why, or the whole advice where there are no keys.
        before: present values of the keys; missing for keys of another `kind`.
    """

    section: str
    keys: Mapping[str, Value]
    reason: str
    before: Mapping[str, Value] = field(default_factory=dict)

    def __str__(self) -> str:
        """Such as `[trainer] batch_size = 128 (now 64): a larger batch shows more of the data`."""
        if not self.keys:
            return self.reason
        sets = ", ".join(f"{key} = {_text(value)}" for key, value in self.keys.items())
        now = ", ".join(_text(self.before[key]) for key in self.keys if key in self.before)
        return f"[{self.section}] {sets}" + (f" (now {now})" if now else "") + f": {self.reason}"


Remedy = Callable[[Config], Advice | None]


def advice_for(name: Name, config: Config) -> tuple[Advice, ...]:
    """List what to try after a finding.

    Returns:
        The likeliest first; may be empty.
    """
    found = (remedy(config) for remedy in REMEDIES.get(name, ()))
    return tuple(advice for advice in found if advice is not None)[:MOST]


def note(text: str) -> Remedy:
    """Make advice that is no key of the configuration."""
    return lambda _config: Advice("", {}, text)


def _text(value: Value) -> str:
    return json.dumps(float(f"{value:.6g}") if isinstance(value, float) else value)


def _set(config: Config, section: str, reason: str, **keys: Value) -> Advice | None:
    """Advice to set keys that differ; None if none does, or the table lacks one."""
    table = configuration.to_tables(config)[section]
    if not table.keys() >= keys.keys():
        return None
    changed = {key: value for key, value in keys.items() if table[key] != value}
    return Advice(section, changed, reason, {key: table[key] for key in changed}) if changed else None


def _has_images(config: Config) -> bool:
    return not isinstance(config.data, MixtureConfig | InteractionsConfig | PlantedConfig)


def _number(config: Config, section: str, key: str) -> float:
    """A number of the configuration; 0 where the table has no such key."""
    value = configuration.to_tables(config)[section].get(key, 0)
    return float(value) if isinstance(value, int | float) else 0.0


def _raise_penalties(config: Config) -> Advice | None:
    if config.objective.kind == "wasserstein":
        return _other_game(config, "wasserstein_gp", "a penalty on the slope bounds the critic more evenly than a clip")
    table = configuration.to_tables(config)["objective"]
    if "gamma_slope" in table:
        slope = _number(config, "objective", "gamma_slope")
        return None if slope else _set(config, "objective", "nothing bounds the critic now", gamma_slope=TENFOLD)
    old = {key: _number(config, "objective", key) for key in ("gamma_r1", "gamma_r2") if key in table}
    new = {key: TENFOLD * value for key, value in old.items() if value > 0} or dict.fromkeys(old, USUAL_GAMMA)
    return _set(config, "objective", "a gradient penalty keeps the critic smooth", **new) if new else None


def _lower_penalties(config: Config) -> Advice | None:
    keys = ("gamma_r1", "gamma_r2", "gamma_slope")
    lower = {key: value / TENFOLD for key in keys if (value := _number(config, "objective", key)) > 0}
    return _set(config, "objective", "the critic may be steeper", **lower) if lower else None


def _loosen_clip(config: Config) -> Advice | None:
    clip = _number(config, "objective", "clip")
    return (
        _set(config, "objective", "the critic's weights may be larger", clip=TENFOLD * clip) if 0 < clip < 1 else None
    )


def _tighten_clip(config: Config) -> Advice | None:
    clip = _number(config, "objective", "clip")
    usual = 0.05  # of the shipped configuration
    return _set(config, "objective", "such a large clip bounds nothing", clip=usual) if clip > 1 else None


def _other_game(config: Config, kind: str, reason: str, **keys: Value) -> Advice | None:
    if config.objective.kind not in PLAIN_GAMES or config.objective.kind == kind:
        return None
    table = configuration.to_tables(config)["objective"]
    kept = {key: table[key] for key in ("gamma_r1", "gamma_r2") if table.get(key)}
    return Advice("objective", {"kind": kind, **keys, **kept}, reason, {"kind": config.objective.kind})


def _pair(config: Config) -> Advice | None:
    reason = "each real sample is judged against a generated one, which has no such bad minima"
    return _other_game(config, "relativistic", reason, gamma_r1=USUAL_GAMMA, gamma_r2=USUAL_GAMMA)


def _keep_gradient(config: Config) -> Advice | None:
    if config.objective.kind == "fgan":
        return _set(config, "objective", "a loss that keeps its gradient", generator="non_saturating")
    if config.objective.kind != "minimax":
        return None
    return _other_game(config, "non_saturating", "the same game with a loss that keeps its gradient")


def _smooth(config: Config) -> Advice | None:
    if _number(config, "objective", "real_target") < 1:
        return None
    return _set(config, "objective", "bounds the critic's confidence", real_target=0.9)


def _normalise(config: Config) -> Advice | None:
    return _set(config, "discriminator", "bounds the slope of every layer", spectral_norm=True)


def _free(config: Config) -> Advice | None:
    return _set(config, "discriminator", "the layers may be as steep as they need", spectral_norm=False)


def _pack(config: Config) -> Advice | None:
    fits = not (config.generator.conditional or config.encoder is not None or config.codes is not None)
    now, batch_size = config.discriminator.pack, config.trainer.batch_size
    larger = [pack for pack in PACKS if pack > now and batch_size % pack == 0]
    if not (fits and larger) or config.objective.kind == "irgan":
        return None
    return _set(
        config, "discriminator", "a critic of several samples at once notices that they are alike", pack=larger[0]
    )


def _one_critic_step(config: Config) -> Advice | None:
    return _set(config, "trainer", "the critic gets less ahead", critic_steps=1)


def _more_critic_steps(config: Config) -> Advice | None:
    steps = config.trainer.critic_steps
    if steps >= STEPS_OF_A_CLIPPED_CRITIC:
        return None
    return _set(config, "trainer", "the critic keeps up with the generator", critic_steps=min(2 * steps, 5))


def _slower_critic(config: Config) -> Advice | None:
    pace = config.trainer
    if pace.learning_rate_discriminator * SIDES_APART < pace.learning_rate_generator:
        return None
    rate = min(pace.learning_rate_discriminator / 2, pace.learning_rate_generator)
    return _set(config, "trainer", "the generator keeps up", learning_rate_discriminator=rate)


def _faster_critic(config: Config) -> Advice | None:
    pace = config.trainer
    if pace.learning_rate_discriminator > SIDES_APART * pace.learning_rate_generator:
        return None
    rate = max(2 * pace.learning_rate_discriminator, pace.learning_rate_generator)
    return _set(config, "trainer", "the critic keeps up", learning_rate_discriminator=rate)


def _slower_generator(config: Config) -> Advice | None:
    rate = config.trainer.learning_rate_generator
    if rate * SIDES_APART < config.trainer.learning_rate_discriminator:
        return None
    return _set(config, "trainer", "smaller steps of the generator", learning_rate_generator=rate / 2)


def _usual_generator_rate(config: Config) -> Advice | None:
    if config.trainer.learning_rate_generator >= USUAL_RATE:
        return None
    return _set(config, "trainer", "steps that move the generator", learning_rate_generator=USUAL_RATE)


def _slower_both(config: Config) -> Advice | None:
    pace = config.trainer
    return _set(
        config,
        "trainer",
        "smaller steps of both",
        learning_rate_generator=pace.learning_rate_generator / 2,
        learning_rate_discriminator=pace.learning_rate_discriminator / 2,
    )


def _usual_rates(config: Config) -> Advice | None:
    pace = config.trainer
    high = {
        key: min(rate / TENFOLD, max(rate / 100, USUAL_RATE))
        for key, rate in (
            ("learning_rate_generator", pace.learning_rate_generator),
            ("learning_rate_discriminator", pace.learning_rate_discriminator),
        )
        if rate > TENFOLD * USUAL_RATE
    }
    return _set(config, "trainer", "the steps are far beyond the usual 0.0002", **high) if high else None


def _anneal(config: Config) -> Advice | None:
    least = 0.1  # of the shipped configurations
    if config.trainer.learning_rate_final_fraction <= least:
        return None
    return _set(config, "trainer", "the steps shrink towards the end", learning_rate_final_fraction=least)


def _no_momentum(config: Config) -> Advice | None:
    if config.trainer.optimizer != "adam":
        return None
    return _set(config, "trainer", "momentum drives the circling", beta1=0.0)


def _larger_batch(config: Config) -> Advice | None:
    larger = 2 * config.trainer.batch_size
    if larger > LARGEST_BATCH:
        return None
    return _set(config, "trainer", "a larger batch shows more of the data at once", batch_size=larger)


def _longer(config: Config) -> Advice | None:
    total = LONGER * config.trainer.total_samples
    return _set(config, "trainer", "in a new run, which takes four times as long", total_samples=total)


def _shorter(config: Config) -> Advice | None:
    total = max(config.trainer.total_samples // 2, config.trainer.batch_size)
    return _set(config, "trainer", "stops before the set is memorised", total_samples=total)


def _augment(config: Config) -> Advice | None:
    if not _has_images(config) or (config.augmentation is not None and config.augmentation.kind == "ada"):
        return None
    now: dict[str, Value] = {} if config.augmentation is None else {"kind": config.augmentation.kind}
    return Advice("augmentation", {"kind": "ada"}, "keeps the critic from memorising the set", now)


def _mirror(config: Config) -> Advice | None:
    if not isinstance(config.data, FolderConfig):
        return None
    return _set(config, "trainer", "where a mirrored sample is as good: twice the data", horizontal_flips=True)


def _scaled(config: Config, section: str, factor: float, reason: str) -> Advice | None:
    widths = configuration.to_tables(config)[section].get("widths")
    if not isinstance(widths, list) or not widths:
        return None
    scaled = [max(1, int(factor * width)) for width in widths if isinstance(width, int)]
    return _set(config, section, reason, widths=list(scaled))


def _wider_generator(config: Config) -> Advice | None:
    return _scaled(config, "generator", 2, "a network that can draw more")


def _narrower_generator(config: Config) -> Advice | None:
    return _scaled(config, "generator", 1 / 2, "a network that can keep less")


def _wider_critic(config: Config) -> Advice | None:
    return _scaled(config, "discriminator", 2, "a critic that can see more")


def _narrower_critic(config: Config) -> Advice | None:
    return _scaled(config, "discriminator", 1 / 2, "a critic that can keep less")


def _see_detail(config: Config) -> Advice | None:
    if not isinstance(config.data, MixtureConfig) or _number(config, "discriminator", "fourier_octaves"):
        return None
    return _set(config, "discriminator", "the critic sees finer detail", fourier_octaves=OCTAVES)


def _leak(config: Config) -> Advice | None:
    if configuration.to_tables(config)["generator"].get("activation") != "relu":
        return None
    return _set(config, "generator", "a unit that is off still learns", activation="leaky_relu")


def _normalise_generator(config: Config) -> Advice | None:
    return _set(config, "generator", "keeps units from going silent", norm="batch")


def _measure(config: Config) -> Advice | None:
    if config.diagnostics.every_samples > 0:
        return None
    return _set(config, "diagnostics", "in a new run", every_samples=6_400)


REMEDIES: Final[dict[Name, tuple[Remedy, ...]]] = {
    "diverged": (_tighten_clip, _usual_rates, _raise_penalties, _slower_both, _normalise),
    "stalled": (_usual_generator_rate, _usual_rates, _leak, _normalise_generator, _slower_both),
    "constrained": (_lower_penalties, _loosen_clip, _free),
    "weak": (_see_detail, _faster_critic, _wider_critic, _more_critic_steps),
    "saturation": (_keep_gradient, _smooth, _normalise, _raise_penalties, _slower_critic, _one_critic_step),
    "collapse": (_usual_rates, _pair, _pack, _slower_generator, _larger_batch, _raise_penalties),
    "overfitting": (note("more data"), _augment, _mirror, _raise_penalties, _narrower_critic),
    "young": (_longer,),
    "outplayed": (_one_critic_step, _slower_critic, _raise_penalties, _wider_generator, _normalise, _longer),
    "missing": (_pack, _pair, _see_detail, _wider_critic, _longer),
    "oscillation": (_usual_rates, _anneal, _no_momentum, _raise_penalties, _slower_both),
    "memorised": (note("more data"), _augment, _mirror, _narrower_generator, _shorter),
    "unlike": (_longer, _wider_generator, _wider_critic),
    "distinguishable": (_longer, _anneal, _wider_generator, _wider_critic),
    "unfinished": (note("python -m training resume RUN continues it"),),
    "unmeasured": (_measure,),
}
