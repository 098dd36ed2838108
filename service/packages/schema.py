"""The manifest's format as types: the reader's own statement of `models/manifest.schema.json`.

It is written by hand, as that file and the exporter's view are, so that the three can be tested against each other.
Types are strict (no "3" for 3), unknown keys are errors, numbers are finite; None means that an optional key was left
out. What keys must say of each other is in `consistency.py` and `signatures.py`.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from service.engine.core.validation import MAX_CLASSES_JUDGED
from service.engine.model_spec import Datatype, GraphKind, Prior, Role

MAX_INT32 = 2**31 - 1
MAX_COORDINATES = 65_536  # of a latent, of a categorical code, and most classes
MAX_SIDE = 8_192  # pixels
MAX_QUANTILES = 10_001  # every hundredth of a percent
MAX_REFERENCE_ROWS = 4_096  # enough to see a density, and few enough to draw

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(\.[A-Za-z0-9]{1,8})+$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Timestamp = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")]
Axis = Annotated[int, Field(ge=-1)]
Logits = Annotated[tuple[float, ...], Field(min_length=2, max_length=MAX_QUANTILES)]
OfEveryClass = Annotated[tuple[float, ...], Field(min_length=2, max_length=MAX_CLASSES_JUDGED)]
Opset = Annotated[int, Field(ge=17, le=26)]
LossFamily = Literal[
    "minimax", "non_saturating", "least_squares", "hinge", "wasserstein", "relativistic", "f_divergence"
]


class Part(BaseModel):
    """A part of the manifest: immutable and strict."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class File(Part):
    """A file's size in bytes, and the SHA-256 of its content in lower-case hexadecimal."""

    size: int = Field(ge=1, le=MAX_INT32)
    sha256: Sha256


class Latent(Part):
    """The generator's input noise.

    Attributes:
        size: Z, coordinates of one latent.
        prior: their distribution; `uniform` is U(−1, 1).
    """

    size: int = Field(ge=1, le=MAX_COORDINATES)
    prior: Prior


class Labels(Part):
    """The classes of a conditional package, in the order of their integers."""

    names: tuple[Annotated[str, Field(min_length=1, max_length=100)], ...] = Field(
        min_length=2, max_length=MAX_COORDINATES
    )


class CategoricalCode(Part):
    """A code that takes one of `size` values, given to the generator as a one-hot vector."""

    name: Identifier
    size: int = Field(ge=2, le=MAX_COORDINATES)


class ContinuousCode(Part):
    """A code in [low, high], drawn uniformly where a request does not state it."""

    name: Identifier
    low: float
    high: float


class Codes(Part):
    """InfoGAN's codes; the code tensor is the one-hot categorical ones, then the continuous ones, in this order."""

    categorical: tuple[CategoricalCode, ...] = Field(max_length=64)
    continuous: tuple[ContinuousCode, ...] = Field(max_length=64)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all codes, in the order of the code tensor; so are `sizes` and `bounds`."""
        return tuple(code.name for code in self.categorical) + tuple(code.name for code in self.continuous)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many values each categorical code has."""
        return tuple(code.size for code in self.categorical)

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Low and high of each continuous code."""
        return tuple((code.low, code.high) for code in self.continuous)

    @property
    def width(self) -> int:
        """Elements of the code tensor, per sample."""
        return sum(self.sizes) + len(self.continuous)


class Condition(Part):
    """An id in [0, count) that the generator draws for, such as a user's."""

    name: Identifier
    count: int = Field(ge=1, le=MAX_INT32)


class ImageSample(Part):
    """An image with values in [lo, hi] = `range`."""

    kind: Literal["image"]
    layout: Literal["NCHW"]
    channels: Literal[1, 3]
    height: int = Field(ge=1, le=MAX_SIDE)
    width: int = Field(ge=1, le=MAX_SIDE)
    range: tuple[float, float]


class VectorSample(Part):
    """A vector of `size` numbers."""

    kind: Literal["vector"]
    size: int = Field(ge=1, le=1_048_576)


class ItemSample(Part):
    """The id of one of `count` items."""

    kind: Literal["item"]
    count: int = Field(ge=1, le=MAX_INT32)


class Tensor(Part):
    """One input or output of a graph, in the words of the Open Inference Protocol.

    Attributes:
        name: in the graph.
        shape: −1 for the batch first, then positive sizes.
        role: what it means.
    """

    name: Identifier
    datatype: Datatype
    shape: tuple[Axis, ...] = Field(min_length=1, max_length=8)
    role: Role


Tensors = Annotated[tuple[Tensor, ...], Field(min_length=1, max_length=16)]


class Graph(Part):
    """One ONNX graph: its file, the version of its operators, its tensors in order."""

    file: FileName
    opset: Opset
    inputs: Tensors
    outputs: Tensors


class Platt(Part):
    """Platt scaling: log-odds = slope·logit + intercept.

    Attributes:
        slope: never negative, so that a higher logit is never less real.
        intercept: in nats.
        fit_samples: held-out samples it was fitted on.
        evaluation_samples: other held-out samples, on which the error was measured.
        expected_calibration_error: |stated − observed| frequency of real, averaged over those, in [0, 1].

    References:
        Platt, Probabilistic Outputs for Support Vector Machines (1999).
    """

    method: Literal["platt"]
    slope: float = Field(ge=0)
    intercept: float
    fit_samples: int = Field(ge=2)
    evaluation_samples: int = Field(ge=2)
    expected_calibration_error: float = Field(ge=0, le=1)


class PiecewiseLinear(Part):
    """Log-odds linear between knots and constant beyond them.

    Attributes:
        logits: the knots, strictly ascending.
        log_odds: at the knots, in nats, never descending.
        fit_samples: as in `Platt`.
        evaluation_samples: as in `Platt`.
        expected_calibration_error: as in `Platt`.
    """

    method: Literal["piecewise_linear"]
    logits: Logits
    log_odds: Logits
    fit_samples: int = Field(ge=2)
    evaluation_samples: int = Field(ge=2)
    expected_calibration_error: float = Field(ge=0, le=1)


class ReferenceQuantiles(Part):
    """Logits at evenly spaced probabilities 0 … 1: of held-out real samples, and of generated ones."""

    real: Logits
    generated: Logits


class UnknownLabel(Part):
    """How to judge a sample whose class is not stated, for K classes; see `unknown_label.py`.

    Attributes:
        weights: [K][K], the weight of one class's logit for each class in the softmax that gives the likeliest.
        offsets: [K], added in that softmax.
        label_accuracy: share of held-out real samples whose likeliest class is their own.
        calibration: from the log-odds of the classes' mean probability to the log-odds of real at even prior.
        reference_quantiles: of the log-odds of that mean.
    """

    weights: tuple[OfEveryClass, ...] = Field(min_length=2, max_length=MAX_CLASSES_JUDGED)
    offsets: OfEveryClass
    label_accuracy: float = Field(ge=0, le=1)
    calibration: Annotated[Platt | PiecewiseLinear, Field(discriminator="method")]
    reference_quantiles: ReferenceQuantiles


class Discriminator(Graph):
    """A graph that judges samples.

    Attributes:
        pack: samples that one logit judges together, side by side in the channels.
        batch_coupled: whether a score depends on the rest of its batch.
        calibration: from a logit to the log-odds of real at even prior; None where it was never fitted.
        reference_quantiles: of logits; there is one where there is a calibration.
        unknown_label: how to judge a sample whose class is not stated; None where it must be stated.
    """

    pack: int = Field(ge=1, le=16)
    loss_family: LossFamily
    batch_coupled: bool
    calibration: Annotated[Platt | PiecewiseLinear, Field(discriminator="method")] | None = None
    reference_quantiles: ReferenceQuantiles | None = None
    unknown_label: UnknownLabel | None = None


class GoldenTolerance(Part):
    """How far a replay may deviate on one provider at one precision.

    Attributes:
        provider: ONNX Runtime's name, or `OpenVINO`.
        sample: absolute, in the sample's units; items are compared exactly.
        pixels: in steps of 1/255.
        logit: absolute, in nats.
        latent: absolute, of an encoder's latent; None as `sample`.
        code: absolute, of a code that is read back; None as `sample`.
    """

    provider: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9]{1,64}$")]
    precision: Literal["fp32", "tf32", "fp16", "bf16"]
    sample: float = Field(ge=0)
    pixels: int = Field(ge=0, le=255)
    logit: float = Field(ge=0)
    latent: float | None = Field(None, ge=0)
    code: float | None = Field(None, ge=0)


class Golden(Part):
    """The exporter's inputs and outputs: `count` rows of every tensor, in one file."""

    file: FileName
    count: int = Field(ge=1, le=256)
    tolerances: tuple[GoldenTolerance, ...] = Field(min_length=1, max_length=32)


class Reference(Part):
    """Held-out real vectors, for people to compare samples with; an NPY file, float32 [count, D]."""

    file: FileName
    count: int = Field(ge=1, le=MAX_REFERENCE_ROWS)


class Data(Part):
    """The training data; echoed."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    name: str
    sha256: Sha256
    attribution: str | None = None


class Provenance(Part):
    """Where the package comes from: echoed, never interpreted; other keys are allowed."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)

    objective: str
    config: dict[str, JsonValue]
    config_sha256: Sha256
    data: Data
    commit: str | None
    samples_seen: int = Field(ge=0)
    metrics: dict[str, JsonValue]


class Manifest(Part):
    """What a package says of itself; `models/README.md` explains every key."""

    schema_version: Literal[1]
    name: Name
    version: int = Field(ge=1, le=MAX_INT32)
    created: Timestamp
    summary: str | None = Field(None, max_length=500)
    license: str | None = Field(None, max_length=200)
    files: dict[FileName, File] = Field(min_length=2, max_length=16)
    latent: Latent
    labels: Labels | None = None
    codes: Codes | None = None
    condition: Condition | None = None
    sample: Annotated[ImageSample | VectorSample | ItemSample, Field(discriminator="kind")]
    generator: Graph
    discriminator: Discriminator | None = None
    encoder: Graph | None = None
    golden: Golden
    reference: Reference | None = None
    provenance: Provenance

    @property
    def graphs(self) -> dict[GraphKind, Graph]:
        """The graphs there are, by kind: the generator first."""
        graphs: dict[GraphKind, Graph | None] = {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "encoder": self.encoder,
        }
        return {kind: graph for kind, graph in graphs.items() if graph is not None}
