"""Request bodies and queries as pydantic models, with every limit that does not depend on the package.

References:
    White, Sampling generative networks (2016).
    Azadi et al., Discriminator Rejection Sampling (2019).
    Turner et al., Metropolis-Hastings Generative Adversarial Networks (2019).
"""

import sys
from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.api.limits import MAX_SEED
from service.api.sample_types import DtypeName
from service.engine.interface import LEAST_TRUNCATION, Curve, SamplerName, SelectionMethod
from service.media.negotiation import FormatName
from service.server.problems import BRANCH_PREFIX

Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Truncation = Annotated[float, Field(ge=LEAST_TRUNCATION, allow_inf_nan=False)]

# Turner et al.'s longest chains have 640.
MAX_CANDIDATES: Final = 1_024
# Enough to show what a discriminator prefers.
BEST_OF_CANDIDATES: Final = 8
# At an acceptance rate of 6 %, 2 % of the samples find none among 64 candidates.
CHAIN_CANDIDATES: Final = 64
# Far beyond any known log ratio: at −100 everything is accepted, at 100 nearly nothing.
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
    """The tag of a selection's method; None where it has none."""
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


FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
LARGEST_NUMBER: Final = sys.float_info.max
# No package can have a longer name, a higher version or a class of a longer name.
MAX_NAME_CHARACTERS = 64
MAX_VERSION = 2**31 - 1
MAX_LABEL_CHARACTERS = 100
# No package has more.
MAX_CODES = 128
_LIST = BRANCH_PREFIX + "list"
_RANGES = BRANCH_PREFIX + "ranges"
_ONE = BRANCH_PREFIX + "one"


def _seeds_branch(value: object) -> str | None:
    match value:
        case list():
            return _LIST
        case str():
            return _RANGES
        case _:
            return None


def _one_or_list(value: object) -> str:
    return _LIST if isinstance(value, list) else _ONE


def _number(value: object) -> int | float:
    # A whole number may be too large to be converted; what is compared is not.
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER:
        return value
    raise PydanticCustomError("number", "Input should be a finite number")


def _integer_or_string(value: object) -> int | str:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("integer_or_string", "Input should be an integer or a string")


def _version_text(value: object) -> str:
    text = str(_integer_or_string(value))
    if text.isascii() and text.isdigit() and 1 <= int(text[:MAX_NAME_CHARACTERS]) <= MAX_VERSION:
        return text
    raise PydanticCustomError("version", 'Input should be a positive integer, such as 1 or "1"')


Seeds = Annotated[
    Annotated[list[Seed], Tag(_LIST), Field(min_length=1, fail_fast=True)] | Annotated[str, Tag(_RANGES)],
    Discriminator(
        _seeds_branch,
        custom_error_type="seeds",
        custom_error_message='Input should be a list of integers or a string such as "0-15,99"',
    ),
]
Finite32 = Annotated[float, Field(ge=-FLOAT32_MAX, le=FLOAT32_MAX, allow_inf_nan=False)]
Rows = Annotated[list[Annotated[list[Finite32], Field(fail_fast=True)]], Field(min_length=1, fail_fast=True)]
Label = Annotated[int | str, BeforeValidator(_integer_or_string, json_schema_input_type=int | str)]
Labels = Annotated[list[Label], Field(min_length=1, fail_fast=True)]
CodeValue = Annotated[int | float, BeforeValidator(_number, json_schema_input_type=int | float)]
CodeValues = Annotated[dict[str, CodeValue], Field(max_length=MAX_CODES, fail_fast=True)]
Codes = Annotated[
    Annotated[CodeValues, Tag(_ONE)] | Annotated[list[CodeValues], Tag(_LIST), Field(min_length=1, fail_fast=True)],
    Discriminator(_one_or_list),
]
Condition = Annotated[
    Annotated[int, Tag(_ONE)] | Annotated[list[int], Tag(_LIST), Field(min_length=1, fail_fast=True)],
    Discriminator(_one_or_list),
]
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Version = Annotated[str, BeforeValidator(_version_text, json_schema_input_type=str | int)]


class GenerateRequest(BaseModel):
    """What to draw. Every field may be left out; so may the whole body."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"n": 64, "seed": 7},
                {"seeds": "0-15,99", "scores": True},
                {"model": "infogan", "n": 10, "seed": 7, "codes": {"digit": 3}},
                {"model": "films", "n": 5, "condition": 42},
                {"n": 16, "seed": 7, "select": {"method": "rejection"}},
                {"interpolate": {"from": 7, "to": 8, "steps": 16}, "truncation": 1.0},
            ]
        },
    )

    model: ModelName | None = Field(None, description="package; left out: the configured default", examples=["mnist"])
    version: Version | None = Field(None, description="its version; left out: the newest ready one", examples=["1"])
    n: int = Field(
        1, ge=1, description="how many samples; excluded by `seeds`, `latents` and `interpolate`", examples=[64]
    )
    seed: Seed | None = Field(
        None,
        description="sample i has seed `seed + i`; left out: drawn below 2^53 and returned",
        examples=[7],
    )
    seeds: Seeds | None = Field(
        None,
        description="one seed a sample: a list, or ranges such as `0-15,99`; excludes `n`, `seed`, `latents` and "
        "`interpolate`",
        examples=["0-15,99"],
    )
    latents: Rows | None = Field(
        None,
        description="given latents, one list of the package's latent size a sample; excludes `n`, `seed`, "
        "`seeds` and `interpolate`",
        examples=[[[0.3, -1.2]]],
    )
    sampler: SamplerName = Field(
        "philox-1",
        description="how a seed becomes a latent; `numpy-legacy` is `RandomState(seed).randn(1, z_dim)`",
        examples=["philox-1"],
    )
    label: Label | None = Field(
        None,
        description="class of every sample of a conditional package, by number or name; left out: drawn from the seed",
        examples=[3, "cat"],
    )
    labels: Labels | None = Field(None, description="one class a sample; excludes `label`", examples=[[3, "cat"]])
    codes: Codes | None = Field(
        None,
        description="codes of an InfoGAN package by name, a categorical one by its integer: one object for all "
        "samples, or a list of one a sample; a code left out is drawn from the seed",
        examples=[{"digit": 3, "slant": 0.7}],
    )
    truncation: Truncation | None = Field(
        None,
        description="t: latent coordinates outside ±t are redrawn from the same seed's stream, for plainer samples of "
        "less variety; not with given latents, Gumbel noise or `numpy-legacy`",
        examples=[1.0],
    )
    interpolate: Interpolate | None = Field(
        None,
        description="samples along a path between two seeds' latents; excludes `n`, `seed`, `seeds`, `latents` and "
        "`select`",
        examples=[{"from": 7, "to": 8, "steps": 16, "path": "slerp"}],
    )
    select: Select | None = Field(
        None,
        description="the discriminator chooses each sample among candidates of its seed; a class or a code that is "
        "drawn is the same for all of them; not with `numpy-legacy`",
        examples=[{"method": "rejection", "candidates": 64, "gamma": 0.0}],
    )
    condition: Condition | None = Field(
        None,
        description="id of what the generator draws for (a user, a query), where the package has a condition: one for "
        "all samples, or a list of one a sample",
        examples=[42],
    )
    scores: bool = Field(
        False,
        description="give each sample its `realness`, the `probability` that /score would answer",
        examples=[True],
    )


class GenerateQuery(BaseModel):
    """How to answer, for callers who cannot set headers."""

    model_config = ConfigDict(extra="forbid")

    format: FormatName | None = Field(
        None, description="form of the answer; wins over the Accept header", examples=["png"]
    )
    dtype: DtypeName | None = Field(
        None,
        description="of an NPY answer of images: pixels, uint8 [N, H, W, C], or the generator's own float32 "
        "[N, C, H, W]; vectors are float32 [N, D], items int64 [N]",
        examples=["float32"],
    )


class SamplesQuery(BaseModel):
    """Whose graph is asked about a body that cannot say so itself: an image, a form or an array."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = Field(None, description="package; left out: the configured default", examples=["mnist"])
    version: Version | None = Field(None, description="its version; left out: the newest ready one", examples=["1"])
    label: list[Annotated[str, Field(max_length=MAX_LABEL_CHARACTERS)]] = Field(
        default_factory=list,
        fail_fast=True,
        description="where the graph takes the class: every sample's, or the parameter repeated, one a sample; /score "
        "finds the class that fits best where it is left out",
        examples=[["3"]],
    )
    condition: list[int] = Field(
        default_factory=list,
        fail_fast=True,
        description="where the graph takes a condition: every sample's id, or the parameter repeated, one a sample",
        examples=[[42]],
    )


class ReconstructQuery(SamplesQuery, GenerateQuery):
    """Whose encoder is asked, and how to answer."""


class SamplesRequest(BaseModel):
    """Samples to judge, to encode or to reconstruct: `images` or `samples`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"images": ["iVBORw0KGgo="]},
                {"model": "ring", "samples": [[0.31, -1.2], [1.9, 0.02]]},
                {"model": "films", "samples": [[318], [50]], "condition": 42},
            ]
        },
    )

    model: ModelName | None = Field(None, description="package; left out: the configured default", examples=["mnist"])
    version: Version | None = Field(None, description="its version; left out: the newest ready one", examples=["1"])
    images: list[str] | None = Field(
        None,
        min_length=1,
        fail_fast=True,
        description="PNG, JPEG or WebP files in base64, or as data URIs",
        examples=[["iVBORw0KGgo="]],
    )
    samples: Rows | None = Field(
        None,
        description="the generator's own values, one list a sample: a vector's numbers, an item's id, or an image's "
        "values in the order C, H, W; excludes `images`",
        examples=[[[0.31, -1.2]]],
    )
    label: Label | None = Field(
        None,
        description="class of every sample, where the graph takes it; /score finds the class that fits best where it "
        "is left out",
        examples=[3],
    )
    labels: Labels | None = Field(None, description="one class a sample; excludes `label`", examples=[[3, "cat"]])
    condition: Condition | None = Field(
        None,
        description="id that the samples belong to (a user, a query), where the graph takes it: one for all, or a list "
        "of one a sample",
        examples=[42],
    )
