"""IRGAN's recommendation experiment: both players factorise, and only training pairs decide when to stop.

References:
    Wang et al., IRGAN (2017), section 4.2 and table 4; github.com/geek-ai/irgan, `item_recommendation`.
"""

from typing import Final

from training.evaluation.ranking import METRICS
from training.experiments.base import Experiment, Metrics, Setting, Target
from training.experiments.stopped_ranking import PROTOCOL, measure
from training.experiments.trained import configured

CONFIG: Final = "irgan-movielens"
# Of the generator that IRGAN's authors released, under this protocol; its epoch was chosen on the test pairs.
RELEASED: Final = dict(zip(METRICS, (0.4057, 0.3785, 0.3184, 0.4228, 0.4053, 0.3775, 0.2442, 0.6103), strict=True))
SLACK = 0.01


def run(setting: Setting) -> Metrics:
    """Train and rank under one seed.

    Returns:
        The metrics of `stopped_ranking.measure`.
    """
    return measure(configured(CONFIG, setting), setting)


EXPERIMENT: Final = Experiment(
    name="irgan_movielens",
    system="IRGAN, both players matrix factorisations of dimension 5",
    protocol=PROTOCOL,
    paper="the authors' released generator, by the same protocol: P@3 .4057, P@5 .3785, P@10 .3184, NDCG@3 .4228, "
    "NDCG@5 .4053, NDCG@10 .3775, MAP .2442, MRR .6103",
    seeds=3,
    targets=tuple(
        Target(metric=name, bound="at_least", value=round(value - SLACK, 4)) for name, value in RELEASED.items()
    ),
    run=run,
    shown=("pretrained_precision_at_5", "pretrained_map"),
)
