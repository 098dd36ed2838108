"""InfoGAN and BiGAN as training runs of seconds, on the bundled digits."""

from typing import Final

from tests.support import small
from training import config as configuration
from training.config import Config
from training.tables import Value, to_toml

INFOGAN: Final[dict[str, Value]] = {
    "kind": "infogan",
    "categorical": {"digit": 10},
    "continuous": {"slant": [-1.0, 1.0], "width": [-2.0, 2.0]},
    "gamma_r1": 0.5,
    "penalty_every_steps": 2,
}
BIGAN: Final[dict[str, Value]] = {"kind": "bigan", "gamma_r1": 0.5}


# For a run that is exported and whose training is not looked at.
BRIEF: Final[dict[str, Value]] = {"total_samples": 160}
UNWATCHED: Final[dict[str, Value]] = {"every_samples": 0, "classifier": False}


def text(objective: dict[str, Value], player: str, table: dict[str, Value], **changes: dict[str, Value]) -> str:
    """The small run with another objective and one more player's table."""
    return small.text(objective=objective, **changes) + f"[{player}]\n{to_toml(table)}"


def infogan(weight_steady: float = 0.0, **changes: dict[str, Value]) -> Config:
    """A run with ten categories and two continuous codes."""
    objective = {**INFOGAN, "weight_steady": weight_steady}
    return configuration.loads(text(objective, "code_head", {"width": 8}, **changes))


def bigan(encoder: str = "convolutional", **changes: dict[str, Value]) -> Config:
    """A run with an encoder."""
    return configuration.loads(text(BIGAN, "encoder", {"kind": encoder, "widths": [8, 16]}, **changes))
