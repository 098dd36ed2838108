"""What the routes for samples answer in JSON, as types.

They stand apart from what the routes take (`schemas.py`), which has limits; these only say what is there.
"""

from typing import Annotated

from pydantic import BaseModel, Field

from service.engine.port import SamplerName
from service.engine.runtime import Precision

PackageSha256 = Annotated[
    str,
    Field(
        description="SHA-256 of the package's manifest, which holds every other file's hash",
        examples=["9c781c6be0fddd2fad85cdbccb52e8ef35e7b2735de7620207bed4f78ecaf2de"],
    ),
]


class WrittenSample(BaseModel):
    """A sample in JSON: one of the three, by what the package makes."""

    image: str | None = Field(
        None, description="an image: PNG as a data URI", examples=["data:image/png;base64,iVBORw0KGgo="]
    )
    values: list[float] | None = Field(None, description="a vector: its numbers", examples=[[0.31, -1.2]])
    item: int | None = Field(None, description="an item: its id", examples=[318])


class DrawnFrom(BaseModel):
    """What a sample was drawn from, and what the discriminator says of it."""

    seed: int | None = Field(
        None, description="what gives the same sample again; absent for given latents and on paths", examples=[7]
    )
    label: int | None = Field(
        None, description="class, given or drawn; absent for unconditional packages", examples=[3]
    )
    label_name: str | None = Field(None, description="its name, likewise", examples=["3"])
    codes: dict[str, int | float] | None = Field(
        None, description="by name, given or drawn; absent for packages without codes", examples=[{"digit": 3}]
    )
    condition: int | None = Field(
        None, description="id that it was drawn for; absent for packages without a condition", examples=[42]
    )
    realness: float | None = Field(
        None, description="calibrated P(real), where `scores` was asked for", examples=[0.87]
    )


class GeneratedSample(WrittenSample, DrawnFrom):
    """One sample of a JSON answer."""


class GenerateAnswer(BaseModel):
    """Samples, and what they depend on."""

    model: str = Field(description="package that answered", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    sampler: SamplerName | None = Field(
        None, description="how seeds became latents; absent for given latents", examples=["philox-1"]
    )
    package_sha256: PackageSha256
    precision: Precision | None = Field(
        None, description="of the arithmetic, where it was less than fp32", examples=["bf16"]
    )
    samples: list[GeneratedSample] = Field(description="in the order of their seeds or latents")


class Score(BaseModel):
    """What the discriminator says of one sample."""

    label: int | None = Field(
        None,
        description="the class that fits best, where the graph takes one and none was named; absent otherwise",
        examples=[3],
    )
    label_name: str | None = Field(None, description="its name, likewise", examples=["3"])
    label_probability: float | None = Field(
        None, description="how likely it is, as read from the logits of all classes, likewise", examples=[0.94]
    )
    logit: float = Field(
        description="the discriminator's raw output, in nats; without a named class, under `label`", examples=[1.9]
    )
    probability: float = Field(description="P(real) at even prior, calibrated on held-out data", examples=[0.87])
    log_density_ratio: float = Field(description="estimate of log p_data/p_g, in nats", examples=[1.9])
    percentile_real: float = Field(
        description="share of held-out real samples with a lower logit, in %; without a named class, with lower odds "
        "before their calibration",
        examples=[63.0],
    )
    percentile_generated: float = Field(
        description="share of generated samples with a lower one, likewise", examples=[88.5]
    )


class ScoreAnswer(BaseModel):
    """Scores in the order of the samples, and what they depend on."""

    model: str = Field(description="package that judged", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    package_sha256: PackageSha256
    scores: list[Score] = Field(description="in the order of the samples")


class CategoricalReading(BaseModel):
    """What an encoder reads of a categorical code in one sample."""

    value: int = Field(description="the likeliest value", examples=[1])
    probabilities: list[float] = Field(description="of each value, in their order", examples=[[0.02, 0.97, 0.01]])


class Encoding(BaseModel):
    """What an encoder says of one sample: a latent, codes, or both."""

    latent: list[float] | None = Field(
        None,
        description="E(x), which /generate takes among `latents`; absent where the encoder gives none",
        examples=[[0.31, -1.2]],
    )
    codes: dict[str, CategoricalReading | float] | None = Field(
        None,
        description="by name: of a categorical code its likeliest value and the probabilities, of a continuous one its "
        "mean; absent where the encoder reads none",
        examples=[{"digit": {"value": 1, "probabilities": [0.02, 0.97, 0.01]}, "slant": 0.7}],
    )


class EncodeAnswer(BaseModel):
    """Encodings in the order of the samples, and what they depend on."""

    model: str = Field(description="package that encoded", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    package_sha256: PackageSha256
    encodings: list[Encoding] = Field(description="in the order of the samples")


class Reconstruction(WrittenSample):
    """G(E(x)) of one sample x."""

    distance: float = Field(
        description="mean squared difference between x and G(E(x)), in the units of the generator's own values, before "
        "an image is quantised",
        examples=[0.031],
    )


class ReconstructAnswer(BaseModel):
    """Reconstructions in the order of the samples, and what they depend on."""

    model: str = Field(description="package that encoded and generated", examples=["mnist"])
    version: str = Field(description="its version", examples=["1"])
    package_sha256: PackageSha256
    reconstructions: list[Reconstruction] = Field(description="in the order of the samples")
