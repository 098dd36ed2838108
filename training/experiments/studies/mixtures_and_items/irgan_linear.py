"""IRGAN with a generator over a linear item-item score, beside the ridge regression that it starts from.

The regression (EASE) is the baseline of this data set: it has a closed form and is better than IRGAN's factorisation.
Its hyper-parameters are chosen on the validation pairs, which also choose the game's length.

References:
    Wang et al., IRGAN (2017), section 4.2. Steck, Embarrassingly Shallow Autoencoders for Sparse Data (2019).
"""

from dataclasses import replace
from typing import Final, cast

import torch

from training import data as sources
from training.data import InteractionData
from training.data.interaction_data import Pairs
from training.evaluation.ranking import METRICS, rank
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.stopped_ranking import CHOSEN_BY, PROTOCOL, measure, validating
from training.experiments.trained import configured
from training.networks.item_item import GeneratorConfig, regression

CONFIG: Final = "irgan-linear-movielens"
RIDGES: Final = (200.0, 400.0, 800.0)
DROPS: Final = (0.0, 0.4)
# The regression with ridge 200 on the test pairs, the best known row before this one.
REGRESSION: Final = dict(zip(METRICS, (0.4576, 0.4162, 0.3559, 0.4832, 0.4557, 0.4277, 0.2794, 0.6772), strict=True))


def run(setting: Setting) -> Metrics:
    """Choose the start, then train and rank under one seed.

    Returns:
        The metrics of `stopped_ranking.measure`, those of the regression without drops at its own best ridge
        (`regression_…`), and what was chosen.
    """
    config = configured(CONFIG, setting)
    aside = cast("InteractionData", sources.load(validating(config, setting.seed).data))
    looks = {
        (ridge, dropped): _regressed(aside, aside.validation, ridge, dropped)[CHOSEN_BY]
        for ridge in RIDGES
        for dropped in DROPS
    }
    ridge, dropped = max(looks, key=lambda start: looks[start])
    plain = max(RIDGES, key=lambda ridge: looks[ridge, 0.0])
    generator = replace(cast("GeneratorConfig", config.generator), ridge=ridge, dropped=dropped)
    data = cast("InteractionData", sources.load(config.data))
    regressed = _regressed(data, data.test, plain, 0.0)
    return {
        **measure(replace(config, generator=generator), setting),
        **{f"regression_{name}": value for name, value in regressed.items()},
        "regression_ridge": plain,
        "ridge": ridge,
        "dropped": dropped,
    }


def _regressed(data: InteractionData, sought: Pairs, ridge: float, dropped: float) -> Metrics:
    known = data.relevance(data.pairs)
    scores = known @ regression(torch.from_numpy(known), ridge, dropped).numpy()
    return rank(scores, known, data.relevance(sought))


EXPERIMENT: Final = Experiment(
    name="irgan_linear",
    system="IRGAN, generator over a linear item-item score, discriminator a matrix factorisation",
    protocol=PROTOCOL,
    paper="the authors' released generator, by the same protocol: P@5 .3785, NDCG@5 .4053, MAP .2442, MRR .6103; "
    "the ridge regression (EASE, ridge 200): P@5 .4162, NDCG@5 .4557, MAP .2794, MRR .6772",
    seeds=3,
    targets=tuple(Target(metric=name, bound="at_least", value=value) for name, value in REGRESSION.items()),
    run=run,
    shown=("regression_precision_at_5", "regression_map"),
)
