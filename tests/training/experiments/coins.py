"""An experiment of no time: a coin whose seed decides how often it shows heads."""

from training.experiments.base import Experiment, Metrics, Setting, Target


def unheard(_line: str) -> None:
    """Discard a line of output."""


def toss(setting: Setting) -> Metrics:
    """Ten heads a seed."""
    return {"heads": 10.0 * setting.seed, "edge": 0.125}


COIN = Experiment(
    name="coin",
    system="a coin",
    protocol="Ten tosses.",
    paper="Bernoulli (1713): half",
    seeds=3,
    targets=(
        Target(metric="heads", bound="at_least", value=5),
        Target(metric="heads", bound="at_most", value=15, over="every_seed"),
    ),
    run=toss,
    shown=("edge",),
)
