"""The losses of each game, one objective a file; `KINDS` is what a configuration may ask for.

In: networks as functions, and a batch. Out: `LossTerms`.
May import codes, schedule, tables and errors; pure, without files.
"""

from typing import Final

from training.objectives.bigan import BiGan
from training.objectives.feature_matching import FeatureMatching
from training.objectives.fgan import FGan
from training.objectives.hinge import Hinge
from training.objectives.infogan import InfoGan
from training.objectives.irgan import Irgan
from training.objectives.least_squares import LeastSquares
from training.objectives.minimax import Minimax, NonSaturating
from training.objectives.relativistic import Relativistic
from training.objectives.wasserstein import Wasserstein, WassersteinGradientPenalty

__all__ = [
    "KINDS",
    "BiGan",
    "FGan",
    "FeatureMatching",
    "Hinge",
    "InfoGan",
    "Irgan",
    "LeastSquares",
    "Minimax",
    "NonSaturating",
    "ObjectiveConfig",
    "Relativistic",
    "Wasserstein",
    "WassersteinGradientPenalty",
]

ObjectiveConfig = (
    Minimax
    | NonSaturating
    | LeastSquares
    | Hinge
    | Wasserstein
    | WassersteinGradientPenalty
    | FGan
    | FeatureMatching
    | Relativistic
    | InfoGan
    | BiGan
    | Irgan
)

KINDS: Final[dict[str, type[ObjectiveConfig]]] = {
    objective.kind: objective
    for objective in (
        Minimax,
        NonSaturating,
        LeastSquares,
        Hinge,
        Wasserstein,
        WassersteinGradientPenalty,
        FGan,
        FeatureMatching,
        Relativistic,
        InfoGan,
        BiGan,
        Irgan,
    )
}
