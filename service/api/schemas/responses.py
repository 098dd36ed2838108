"""JSON responses as pydantic models, which document them in OpenAPI."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from service.engine.config import Precision
from service.engine.interface import SamplerName
from service.engine.model_spec import Prior
from service.packages.registry import State

PackageSha256 = Annotated[
    str,
    Field(
        description="SHA-256 of the package's manifest, which holds every other file's hash",
        examples=["9c781c6be0fddd2fad85cdbccb52e8ef35e7b2735de7620207bed4f78ecaf2de"],
    ),
]


Told = Literal["label", "condition"]


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
    label_name: str | None = Field(None, description="the name of `label`", examples=["3"])
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
    label_name: str | None = Field(None, description="the name of `label`", examples=["3"])
    label_probability: float | None = Field(
        None, description="how likely it is, as read from the logits of all classes", examples=[0.94]
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
        description="share of generated samples with a lower one, in %", examples=[88.5]
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


class VersionState(BaseModel):
    """Where one version of a model stands."""

    version: str = Field(description="its version", examples=["1"])
    state: State = Field(description="only a ready one answers new requests", examples=["ready"])
    reason: str | None = Field(
        None,
        description="why it was refused, or is out of memory",
        examples=["generator.onnx: its SHA-256 is not the manifest's"],
    )
    on_demand: bool = Field(
        False,
        description="whether it is out of memory for GANYMEDE_MEMORY_BUDGET alone, so that a request has it loaded",
    )
    memory_bytes: int | None = Field(
        None,
        description="memory that it takes, or took when it was loaded last, by the growth of the process",
        examples=[39_845_888],
    )


class Model(BaseModel):
    """One model and its versions."""

    name: str = Field(description="its name", examples=["mnist"])
    default: bool = Field(description="whether it answers requests that name none")
    versions: list[VersionState] = Field(
        description="the newest first; the newest that is ready answers requests that name none"
    )


class ModelList(BaseModel):
    """Every model that was found."""

    models: list[Model] = Field(description="by name")


class LatentInput(BaseModel):
    """What the generator turns into samples."""

    size: int = Field(description="numbers of one latent", examples=[128])
    prior: Prior = Field(description="their distribution; `uniform` is U(-1, 1)", examples=["standard_normal"])


class ImageOutput(BaseModel):
    """What the generator makes, and what the discriminator takes."""

    kind: Literal["image"] = Field("image", description="what a sample is", examples=["image"])
    height: int = Field(description="pixels", examples=[28])
    width: int = Field(description="pixels", examples=[28])
    channels: int = Field(description="1 grey, 3 RGB", examples=[1])


class VectorOutput(BaseModel):
    """What the generator makes, and what the discriminator takes."""

    kind: Literal["vector"] = Field("vector", description="what a sample is", examples=["vector"])
    size: int = Field(description="numbers of one vector", examples=[2])


class ItemOutput(BaseModel):
    """What the generator chooses, and what the discriminator takes."""

    kind: Literal["item"] = Field("item", description="what a sample is", examples=["item"])
    count: int = Field(description="items there are; ids are below it", examples=[1682])


class CategoricalInput(BaseModel):
    """A code that takes one of some values."""

    name: str = Field(description="what `codes` calls it", examples=["digit"])
    size: int = Field(description="values there are; they are below it", examples=[10])


class ContinuousInput(BaseModel):
    """A code that takes a number between two bounds."""

    name: str = Field(description="what `codes` calls it", examples=["slant"])
    low: float = Field(description="least value", examples=[-1.0])
    high: float = Field(description="largest value", examples=[1.0])


class CodesInput(BaseModel):
    """InfoGAN's codes."""

    categorical: list[CategoricalInput] = Field(description="in their order")
    continuous: list[ContinuousInput] = Field(description="in their order")


class ConditionInput(BaseModel):
    """The id that the generator draws for."""

    name: str = Field(description="what the ids are of", examples=["user"])
    count: int = Field(description="ids there are; they are below it", examples=[943])


class EncoderOutputs(BaseModel):
    """What the encoder reads in a sample."""

    gives: list[Literal["latent", "code"]] = Field(
        description="`latent` can be generated from again, `code` only read", examples=[["latent"]]
    )
    takes: list[Told] = Field(description="what it is told beside the sample", examples=[[]])


class ReferenceSample(BaseModel):
    """Real vectors that the generator was not trained on; `reference.npy` below this page has them."""

    count: int = Field(description="vectors there are", examples=[4096])
    sha256: str = Field(
        description="of the NPY file, as its ETag",
        examples=["5f0c1e9a7b3d24685f0c1e9a7b3d24685f0c1e9a7b3d24685f0c1e9a7b3d2468"],
    )


class UnlabelledJudge(BaseModel):
    """What the manifest says of scores without a label."""

    calibration_method: str = Field(description="how the mean over classes becomes a probability", examples=["platt"])
    expected_calibration_error: float = Field(description="on held-out samples, in [0, 1]", examples=[0.031])
    label_accuracy: float = Field(
        description="share of held-out real samples that are given their own class", examples=[0.76]
    )


class Judge(BaseModel):
    """What the manifest says of the discriminator."""

    loss_family: str = Field(description="what its logit was trained to be", examples=["non_saturating"])
    takes: list[Told] = Field(description="what it is told beside the sample", examples=[["label"]])
    batch_coupled: bool = Field(description="whether a score depends on what is scored beside it")
    calibration_method: str = Field(description="how logits become probabilities", examples=["platt"])
    expected_calibration_error: float = Field(description="on held-out samples, in [0, 1]", examples=[0.012])
    unknown_label: UnlabelledJudge | None = Field(
        None, description="of scores without a label; absent where there are none"
    )


class PixelDifference(BaseModel):
    """What the golden pictures and those made here differ by."""

    model_config = ConfigDict(from_attributes=True)

    largest: int = Field(description="of one pixel, in steps of 1/255", examples=[0])
    mean: float = Field(description="over all pixels, in steps of 1/255", examples=[0.0])
    share: float = Field(description="of the pixels that differ at all, in [0, 1]", examples=[0.0])


class Device(BaseModel):
    """A device that is not the CPU, and what is between it and the runtime."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="the device's own", examples=["NVIDIA H100 80GB HBM3"])
    driver: str = Field(description="version of its driver", examples=["580.95.05"])
    cuda: str = Field(description="version of the CUDA runtime", examples=["13.0"])
    cudnn: str = Field(description="version of cuDNN", examples=["9.20.0"])
    cublas: str = Field(description="version of cuBLAS", examples=["13.1.1"])
    cpu_operators: list[str] = Field(
        description="operators of the graph that run on the CPU all the same", examples=[[]]
    )
    form: str = Field(
        description="how it is computed: with the plans of cuDNN's heuristic or exhaustive search, or with its "
        "transposed convolutions as_convolutions; the first of them that gives the same bytes each time",
        examples=["heuristic"],
    )


class GraphOnDevice(BaseModel):
    """What loading a graph showed on this machine."""

    provider: str = Field(
        description="what runs it: a provider of ONNX Runtime, or OpenVINO", examples=["CPUExecutionProvider"]
    )
    runtime: str = Field(description="the library that computes, and its version", examples=["onnxruntime 1.31.1"])
    precision: Literal["fp32", "fp16", "bf16"] = Field(description="of its arithmetic")
    buckets: list[int] = Field(
        description="batch sizes in use; empty where requests are never batched together", examples=[[1, 2, 4, 8]]
    )
    reproducible: bool = Field(description="whether a sample's bytes were proven equal in all of them")
    largest_deviation: float = Field(
        description="largest absolute difference between any two batch sizes tried", examples=[1.2e-07]
    )
    golden_deviation: float = Field(
        description="largest absolute difference from the exporter's own outputs", examples=[3.6e-07]
    )
    pixel_difference: PixelDifference | None = Field(
        None, description="how its pixels differ from the exporter's own, which were computed in fp32"
    )
    device: Device | None = Field(None, description="what it runs on; absent on the CPU")


class VersionDetails(VersionState):
    """One version of a model; the rest is there once it is ready."""

    name: str = Field(description="its model", examples=["mnist"])
    package_sha256: str | None = Field(
        None,
        description="SHA-256 of the manifest, which holds every file's hash",
        examples=["9c781c6be0fddd2fad85cdbccb52e8ef35e7b2735de7620207bed4f78ecaf2de"],
    )
    stack: str | None = Field(
        None,
        description="what the bytes of its samples depend on here: package, runtime, provider, precision, encoders; a "
        "sample's URL that names it never changes",
        examples=["5f0c1e9a7b3d2468"],
    )
    created: str | None = Field(None, description="when it was exported, UTC", examples=["2026-01-01T00:00:00Z"])
    summary: str | None = Field(None, description="one sentence for people", examples=["Handwritten digits."])
    license: str | None = Field(None, description="of the weights", examples=["MIT"])
    latent: LatentInput | None = Field(None, description="what the generator takes")
    labels: list[str] | None = Field(
        None, description="classes in the order of their integers, where there are some", examples=[["zero", "one"]]
    )
    codes: CodesInput | None = Field(None, description="codes that the generator takes, where there are some")
    condition: ConditionInput | None = Field(None, description="what the generator draws for, where there is such")
    sample: ImageOutput | VectorOutput | ItemOutput | None = Field(None, description="what the generator makes")
    reference: ReferenceSample | None = Field(
        None, description="real samples to compare with, where a package of vectors has them"
    )
    discriminator: Judge | None = Field(
        None, description="what the manifest says of the discriminator, where there is one"
    )
    encoder: EncoderOutputs | None = Field(None, description="what the encoder gives, where there is one")
    generator_on_device: GraphOnDevice | None = Field(None, description="what loading the generator showed")
    discriminator_on_device: GraphOnDevice | None = Field(None, description="what loading the discriminator showed")
    encoder_on_device: GraphOnDevice | None = Field(None, description="what loading the encoder showed")
    load_s: float | None = Field(
        None, description="seconds from bytes to ready, golden replay and warm-up included", examples=[1.4]
    )
    provenance: dict[str, object] | None = Field(
        None, description="echoed from the package: objective, data, metrics", examples=[{"objective": "minimax"}]
    )
