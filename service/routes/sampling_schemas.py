"""How /generate may be asked to choose among samples and to walk between them, as types.

They stand apart from `schemas.py` because they are what a request says of *sampling*, each with limits of its own and
sources to cite, while that file says what a request is about. What depends on the package or on the seeds is judged in
`origins.py` and `drawing.py`.

References:
    White, Sampling generative networks (2016).
    Azadi et al., Discriminator Rejection Sampling (2019).
    Turner et al., Metropolis-Hastings Generative Adversarial Networks (2019).
"""

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from service.engine.paths import Curve
from service.engine.port import SelectionMethod
from service.engine.sampler import LEAST_TRUNCATION
from service.routes.problems import BRANCH_PREFIX
from service.routes.seed_ranges import MAX_SEED

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Truncation = Annotated[float, Field(ge=LEAST_TRUNCATION, allow_inf_nan=False)]

# Turner et al.'s longest chains have 640.
MAX_CANDIDATES: Final = 1_024
# Enough to see what a discriminator prefers: of the items that the shipped package draws, those that their user likes
# go from 22 to 53 in a hundred.
BEST_OF_CANDIDATES: Final = 8
# Rejection accepts 6 in a hundred of the shipped digits, so that 64 candidates leave 2 samples in a hundred without.
CHAIN_CANDIDATES: Final = 64
# Far beyond any ratio that is known: one way everything is accepted, the other nearly nothing.
MAX_GAMMA: Final = 100.0

_STRICT = ConfigDict(extra="forbid", strict=True)


class BestOf(BaseModel):
    """The candidate with the highest logit."""

    model_config = _STRICT

    method: Literal["best-of"] = Field(description="how the discriminator chooses", examples=["best-of"])
    candidates: int = Field(
        BEST_OF_CANDIDATES, ge=1, le=MAX_CANDIDATES, description="how many are drawn for each sample", examples=[8]
    )


class Rejection(BaseModel):
    """Discriminator rejection sampling: the first candidate that is accepted, by the calibrated density ratio."""

    model_config = _STRICT

    method: Literal["rejection"] = Field(description="how the discriminator chooses", examples=["rejection"])
    candidates: int = Field(
        CHAIN_CANDIDATES,
        ge=1,
        le=MAX_CANDIDATES,
        description="how many are tried at most; where none is accepted, the one that came nearest is the sample",
        examples=[64],
    )
    gamma: float = Field(
        0.0,
        ge=-MAX_GAMMA,
        le=MAX_GAMMA,
        allow_inf_nan=False,
        description="γ in nats: above 0 fewer candidates are accepted, below 0 more; 0 samples the density that the "
        "calibration estimates",
        examples=[0.0],
    )


class MetropolisHastings(BaseModel):
    """Where an independence chain stands after all candidates; it starts at the first."""

    model_config = _STRICT

    method: Literal["metropolis-hastings"] = Field(
        description="how the discriminator chooses", examples=["metropolis-hastings"]
    )
    candidates: int = Field(
        CHAIN_CANDIDATES, ge=1, le=MAX_CANDIDATES, description="length of the chain, its start counted", examples=[64]
    )


def _method(value: object) -> str | None:
    """The branch of a selection; of none that is known, None."""
    method = value.get("method") if isinstance(value, dict) else None
    return BRANCH_PREFIX + method if isinstance(method, str) else None


METHODS: tuple[SelectionMethod, ...] = ("best-of", "rejection", "metropolis-hastings")
Select = Annotated[
    Annotated[BestOf, Tag(BRANCH_PREFIX + METHODS[0])]
    | Annotated[Rejection, Tag(BRANCH_PREFIX + METHODS[1])]
    | Annotated[MetropolisHastings, Tag(BRANCH_PREFIX + METHODS[2])],
    Discriminator(
        _method,
        custom_error_type="select",
        custom_error_message=f"Input should be an object whose `method` is one of {', '.join(METHODS)}",
    ),
]


class Interpolate(BaseModel):
    """Samples along a path between the latents of two seeds, both ends included."""

    model_config = _STRICT

    from_: Seed = Field(alias="from", description="seed of the first sample, and of what is left out", examples=[7])
    to: Seed = Field(description="seed of the last sample's latent", examples=[8])
    steps: int = Field(ge=2, description="how many samples", examples=[16])
    path: Curve = Field(
        "slerp",
        description="`slerp` is an arc that keeps the latents' length, for normal latents; `lerp` a straight line",
        examples=["slerp"],
    )
