"""Protocol of the experiments on MovieLens: stop by validation, train on all pairs, rank by the exported graph.

    validation pairs aside ──▶ train, evaluate the ranking at intervals ──▶ the best number of samples all training
    pairs     ──▶ train for as long ──▶ export ──▶ rank the test pairs

The test pairs are used for no decision. Validation resembles the test: about as many users, and about the same share of
each one's pairs.

References:
    Wang et al., IRGAN (2017), section 4.2; its published code chose the epoch on the test pairs.
"""

import json
from dataclasses import replace
from typing import Final, cast

import torch

from training import data as sources
from training.config import Config
from training.data import InteractionData, InteractionsConfig
from training.evaluation.ranking import rank
from training.experiments.base import Metrics, Setting
from training.experiments.trained import completed, exported
from training.export.graphs import catalogue
from training.files import write_atomically
from training.loop.trainer import Trainer
from training.networks.catalogue import ItemGenerator
from training.objectives import Irgan

VALIDATION_USERS = 456  # as many as have test pairs
VALIDATION_FRACTION = 0.4  # the test keeps 38 % of its users' relevant items
CHOSEN_BY: Final = "map"  # uses the whole ranking, so it varies least by chance
LOOKS = 10  # evaluations, evenly over the game
CHOICE_NAME: Final = "stop.json"

PROTOCOL: Final = (
    "MovieLens-100k in IRGAN's split: 4 stars are relevant, 456 users with test pairs, candidates are all items but "
    "the user's relevant training items. The number of samples is chosen by the mean average precision of pairs put "
    "aside from training; then all training pairs are trained on. Scores are read from the exported graph."
)


def validating(config: Config, seed: int) -> Config:
    """Copy a configuration with some training pairs set aside for validation.

    Raises:
        TypeError: if its data is of another kind.
    """
    if not isinstance(config.data, InteractionsConfig):
        raise TypeError(f"{config.name} trains on no interactions")
    aside = replace(
        config.data,
        validation_users=VALIDATION_USERS,
        validation_fraction=VALIDATION_FRACTION,
        validation_seed=seed,
    )
    return replace(config, data=aside)


def chosen_length(config: Config, setting: Setting) -> int:
    """Find the number of samples after which the ranking of validation pairs is best.

    Args:
        config: of IRGAN on interactions; its length is the longest to be considered.
        setting: of one seed; its folder keeps the choice, which is reused by later attempts.

    Returns:
        More than pretraining takes, and at most the configuration's length.
    """
    path = setting.folder / CHOICE_NAME
    if not path.exists():
        best = _best_length(validating(config, setting.seed), setting)
        write_atomically(path, json.dumps({"samples": best}).encode())
    return cast("int", json.loads(path.read_text(encoding="utf-8"))["samples"])


def measure(config: Config, setting: Setting) -> Metrics:
    """Choose the length of a run on validation pairs, train on all pairs, and rank the test pairs.

    Args:
        config: of IRGAN on interactions; its length is the longest to be considered.
        setting: of one seed; its folder keeps the choice and the run.

    Returns:
        All figures of `training.evaluation.ranking`, the same at the end of pretraining (`pretrained_…`), and the
        samples that were chosen.
    """
    chosen = chosen_length(config, setting)
    figures = _ranked(_of_length(config, chosen), setting, "run")
    before = _ranked(_of_length(config, _pretraining_samples(config)), setting, "pretrained")
    return {
        **figures,
        **{f"pretrained_{name}": value for name, value in before.items()},
        "samples": float(chosen),
    }


def _best_length(config: Config, setting: Setting) -> int:
    data = cast("InteractionData", sources.load(config.data))
    known, sought = data.relevance(data.pairs), data.relevance(data.validation)
    trainer = Trainer(config, data)
    found: dict[int, float] = {}
    begun, total = _pretraining_samples(config), config.trainer.total_samples
    while not trainer.finished:
        trainer.step()
        if trainer.samples_seen > begun and trainer.passed((total - begun) // LOOKS):
            generator = cast("ItemGenerator", trainer.ema["generator"])
            scores = generator.scores(torch.arange(data.users, device=trainer.device)).cpu().numpy()
            found[trainer.samples_seen] = rank(scores, known, sought)[CHOSEN_BY]
            setting.say(
                f"{trainer.samples_seen:,} samples: {CHOSEN_BY} {found[trainer.samples_seen]:.4f} on validation"
            )
    return max(found, key=lambda samples: found[samples])


def _ranked(config: Config, setting: Setting, name: str) -> Metrics:
    pair, _, data = exported(completed(config, setting.folder / name, setting), setting)
    interactions = cast("InteractionData", data)
    scores = catalogue.scores(pair.generator_bytes, interactions.users, interactions.items)
    return rank(scores, interactions.relevance(interactions.pairs), interactions.relevance(interactions.test))


def _pretraining_samples(config: Config) -> int:
    return cast("Irgan", config.objective).pretraining_steps * config.trainer.batch_size


def _of_length(config: Config, samples: int) -> Config:
    """Copy a configuration with another length; a run of no samples has one batch, which changes almost nothing."""
    return replace(config, trainer=replace(config.trainer, total_samples=max(samples, 1)))
