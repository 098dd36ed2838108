"""IRGAN on synthetic interactions: do the served rankings follow the users' true preferences?

The true preferences of real users are unknown, so a served ranking can only be checked on synthetic ones.

References:
    Wang et al., IRGAN (2017). Mann and Whitney (1947): the area under the curve.
"""

from typing import Final, cast

import numpy as np

from training.data import InteractionData, PlantedConfig
from training.data.planted import tastes
from training.evaluation.ranking import popularity, rank
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.trained import exported, trained
from training.export.calibration import area_under_curve
from training.export.graphs import catalogue
from training.export.graphs.export_seeds import Purpose
from training.export.graphs.interface import CONDITION, LOGIT, SAMPLE

CONFIG: Final = "irgan-planted"
DRAWS = 100_000  # 333 for each user
LIKED_SHARE = 0.1  # of a user's items, the first by the true scores, count as liked


def measure(setting: Setting) -> Metrics:
    """Train, export, and compare the graphs' outputs with the truth.

    Returns:
        `map` of the test pairs by the served scores, by the truth and by popularity; the mean correlation over users of
        served scores with true ones; the share of draws that are liked items, and that by chance; the area under the
        curve of the discriminator's logits of liked items against the others.
    """
    pair, run, loaded = exported(trained(CONFIG, setting), setting)
    truth = tastes(cast("PlantedConfig", run.config.data))
    data = cast("InteractionData", loaded)
    known, sought = data.relevance(data.pairs), data.relevance(data.test)
    served = catalogue.scores(pair.generator_bytes, data.users, data.items).astype(np.float64)
    liked = truth >= np.quantile(truth, 1 - LIKED_SHARE, axis=1, keepdims=True)
    drawn = pair.generated(Purpose.EVALUATION, DRAWS)
    users, items = (axis.ravel() for axis in np.indices(truth.shape))
    logits = pair.discriminator.output(LOGIT, {SAMPLE: items, CONDITION: users}).astype(np.float64)
    return {
        "map": rank(served, known, sought)["map"],
        "map_of_truth": rank(truth, known, sought)["map"],
        "map_of_popularity": rank(popularity(known), known, sought)["map"],
        "correlation": float(np.mean([np.corrcoef(*rows)[0, 1] for rows in zip(served, truth, strict=True)])),
        "liked_share": float(liked[drawn.labels, drawn.samples].mean()),
        "liked_by_chance": float(liked.mean()),
        "relevance_auc": area_under_curve(logits[liked.ravel()], logits[~liked.ravel()]),
    }


EXPERIMENT: Final = Experiment(
    name="irgan_planted",
    system="IRGAN on planted interactions, both players matrix factorisations",
    protocol="300 users with tastes of rank 3 over 120 items take 25 each, 5 of them held out; the exported graph's "
    "scores rank all items but the 20 trained on, and are correlated with the planted tastes; 100,000 draws.",
    paper="none: the truth is known here, and its own ranking of the held-out items is the ceiling",
    seeds=3,
    targets=(
        Target(metric="correlation", bound="at_least", value=0.75, over="every_seed"),
        Target(metric="map", bound="at_least", value=0.35, over="every_seed"),
    ),
    run=measure,
    shown=("map_of_truth", "map_of_popularity", "liked_share", "liked_by_chance", "relevance_auc"),
)
