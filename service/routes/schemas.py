"""The wire types of /generate and /score, and every limit that does not depend on settings or on a package.

Bodies are strict: a bool is not an integer, a string is not a number, and a field that is not listed is refused,
never ignored. Of a list only the first mistake is named: describing a million would cost more than serving them.
What depends on the package that answers (its latent size, its labels) or on the form of the answer is judged in
`drawing.py` and `judging.py`, which know them.
"""

from typing import Annotated, Final, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from service.engine.port import SamplerName
from service.routes.problems import BRANCH_PREFIX
from service.routes.seed_ranges import MAX_SEED

FLOAT32_MAX: Final = float(np.finfo(np.float32).max)
# No package can have a longer name, a higher version or a class of a longer name.
MAX_NAME_CHARACTERS = 64
MAX_VERSION = 2**31 - 1
MAX_LABEL_CHARACTERS = 100
_LIST = BRANCH_PREFIX + "list"
_RANGES = BRANCH_PREFIX + "ranges"


def _seeds_branch(value: object) -> str | None:
    match value:
        case list():
            return _LIST
        case str():
            return _RANGES
        case _:
            return None


def _integer_or_string(value: object) -> int | str:
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    raise PydanticCustomError("integer_or_string", "Input should be an integer or a string")


def _version_text(value: object) -> str:
    text = str(_integer_or_string(value))
    if text.isascii() and text.isdigit() and 1 <= int(text[:MAX_NAME_CHARACTERS]) <= MAX_VERSION:
        return text
    raise PydanticCustomError("version", 'Input should be a positive integer, such as 1 or "1"')


Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
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
ModelName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
Version = Annotated[str, BeforeValidator(_version_text, json_schema_input_type=str | int)]
FormatName = Literal["json", "png", "jpeg", "webp", "npy", "zip"]
DtypeName = Literal["uint8", "float32"]


class GenerateRequest(BaseModel):
    """What to draw. Every field may be left out; so may the whole body."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"n": 64, "seed": 7}, {"seeds": "0-15,99", "scores": True}]},
    )

    model: ModelName | None = Field(None, description="package; left out: the configured default", examples=["mnist"])
    version: Version | None = Field(None, description="its version; left out: the newest ready one", examples=["1"])
    n: int = Field(1, ge=1, description="how many samples; excluded by `seeds` and `latents`", examples=[64])
    seed: Seed | None = Field(
        None,
        description="sample i has seed `seed + i`; left out: drawn below 2^53 and returned",
        examples=[7],
    )
    seeds: Seeds | None = Field(
        None,
        description="one seed a sample: a list, or ranges such as `0-15,99`; excludes `n`, `seed` and `latents`",
        examples=["0-15,99"],
    )
    latents: Rows | None = Field(
        None,
        description="given latents, one list of the package's latent size a sample; excludes `n`, `seed` and `seeds`",
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
        description="of an NPY answer: pixels, uint8 [N, H, W, C], or the generator's own float32 [N, C, H, W]",
        examples=["float32"],
    )


class GeneratedSample(BaseModel):
    """One sample of a JSON answer."""

    seed: int | None = Field(
        None, description="what gives the same sample again; absent for given latents", examples=[7]
    )
    label: int | None = Field(
        None, description="class, given or drawn; absent for unconditional packages", examples=[3]
    )
    realness: float | None = Field(
        None, description="calibrated P(real), where `scores` was asked for", examples=[0.87]
    )
    image: str = Field(description="PNG as a data URI", examples=["data:image/png;base64,iVBORw0KGgo="])


class GenerateAnswer(BaseModel):
    """Samples, and what they depend on."""

    model: str = Field(description="package that answered", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    sampler: SamplerName | None = Field(
        None, description="how seeds became latents; absent for given latents", examples=["philox-1"]
    )
    package_sha256: str = Field(
        description="SHA-256 of the package's manifest, which holds every other file's hash",
        examples=["9c781c6be0fddd2fad85cdbccb52e8ef35e7b2735de7620207bed4f78ecaf2de"],
    )
    samples: list[GeneratedSample] = Field(description="in the order of their seeds or latents")


class ScoreQuery(BaseModel):
    """Which discriminator judges a body that cannot say so itself: an image, a form or an array."""

    model_config = ConfigDict(extra="forbid")

    model: ModelName | None = Field(None, description="package; left out: the configured default", examples=["mnist"])
    version: Version | None = Field(None, description="its version; left out: the newest ready one", examples=["1"])
    label: list[Annotated[str, Field(max_length=MAX_LABEL_CHARACTERS)]] = Field(
        default_factory=list,
        description="for conditional discriminators: every sample's class, or the parameter repeated, one a sample",
    )


class ScoreRequest(BaseModel):
    """What to judge: `images` or `samples`."""

    model_config = ConfigDict(
        extra="forbid", strict=True, json_schema_extra={"examples": [{"images": ["iVBORw0KGgo="]}]}
    )

    model: ModelName | None = Field(None, description="package; left out: the configured default", examples=["mnist"])
    version: Version | None = Field(None, description="its version; left out: the newest ready one", examples=["1"])
    images: list[str] | None = Field(
        None, min_length=1, description="PNG, JPEG or WebP files in base64, or as data URIs"
    )
    samples: Rows | None = Field(
        None,
        description="the generator's own values, one flat list a sample (C, H, W order for images); excludes `images`",
    )
    label: Label | None = Field(None, description="class of every sample, for conditional discriminators")
    labels: Labels | None = Field(None, description="one class a sample; excludes `label`")


class Score(BaseModel):
    """What the discriminator says of one sample."""

    logit: float = Field(description="the discriminator's raw output, in nats", examples=[1.9])
    probability: float = Field(description="P(real) at even prior, calibrated on held-out data", examples=[0.87])
    log_density_ratio: float = Field(description="estimate of log p_data/p_g, in nats", examples=[1.9])
    percentile_real: float = Field(
        description="share of held-out real samples with a lower logit, in %", examples=[63.0]
    )
    percentile_generated: float = Field(
        description="share of generated samples with a lower logit, in %", examples=[88.5]
    )


class ScoreAnswer(BaseModel):
    """Scores in the order of the samples, and what they depend on."""

    model: str = Field(description="package that judged", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    package_sha256: str = Field(
        description="SHA-256 of the package's manifest, which holds every other file's hash",
        examples=["9c781c6be0fddd2fad85cdbccb52e8ef35e7b2735de7620207bed4f78ecaf2de"],
    )
    scores: list[Score] = Field(description="in the order of the samples")
