"""The games that can be played, one idea a file; `KINDS` is what a configuration may ask for."""

from typing import Final

from training.objectives.minimax import Minimax, NonSaturating
from training.objectives.relativistic import Relativistic

__all__ = ["KINDS", "Minimax", "NonSaturating", "ObjectiveConfig", "Relativistic"]

ObjectiveConfig = Minimax | NonSaturating | Relativistic

KINDS: Final[dict[str, type[ObjectiveConfig]]] = {
    objective.kind: objective for objective in (Minimax, NonSaturating, Relativistic)
}
