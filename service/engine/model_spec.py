"""What a discriminator's logits say of log p_data/p_g, as plain data: the curve its exporter fitted.

Selection by the discriminator needs the ratio of densities, not a logit of whatever loss. The engine is told the curve
with the graph and knows neither manifests nor how it was fitted; `calibration.py` reads the same
curve for `/score`, so that both speak of one number.

Shapes: any number of logits.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.engine.config import Precision

Array = NDArray[np.generic]
Feeds = dict[str, Array]
Outputs = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line: slope·logit + intercept.

    Attributes:
        slope: never negative.
        intercept: in nats.
    """

    slope: float
    intercept: float

    def at(self, logits: ArrayLike) -> NDArray[np.float64]:
        """The log ratio of each logit, in nats."""
        return self.slope * np.asarray(logits, np.float64) + self.intercept


@dataclass(frozen=True, slots=True)
class Knots:
    """A curve that is linear between knots and constant beyond them.

    Attributes:
        logits: the knots, strictly ascending.
        log_ratios: at the knots, in nats, never descending.
    """

    logits: tuple[float, ...]
    log_ratios: tuple[float, ...]

    def at(self, logits: ArrayLike) -> NDArray[np.float64]:
        """The log ratio of each logit, in nats."""
        return np.asarray(np.interp(np.asarray(logits, np.float64), self.logits, self.log_ratios))


@dataclass(frozen=True, slots=True)
class DensityRatio:
    """The estimate of log p_data/p_g, and the highest that is known of generated samples.

    Attributes:
        curve: from a logit to the log ratio.
        highest_logit: of the generated samples that the exporter kept for reference.
    """

    curve: Line | Knots
    highest_logit: float

    @property
    def ceiling(self) -> float:
        """The log ratio that few generated samples pass, in nats."""
        return float(self.curve.at(self.highest_logit))


# In steps of 1/255. Of a mean below one step, no display of eight bits a channel shows more than single pixels; a tenth
# of the range in one pixel is what the edge of a stroke may lose and a wrong kernel passes by far.
LARGEST_STEPS = 26
MEAN_STEPS = 1.0


@dataclass(frozen=True, slots=True)
class PixelDifference:
    """What two pictures of the same latents differ by.

    Attributes:
        largest: of one pixel, in steps of 1/255.
        mean: over all pixels, likewise.
        share: of the pixels that differ at all, in [0, 1].
    """

    largest: int
    mean: float
    share: float

    @classmethod
    def between(cls, left: NDArray[np.uint8], right: NDArray[np.uint8]) -> "PixelDifference":
        """Measure it.

        Args:
            left: [B, H, W, C].
            right: likewise.
        """
        steps = np.abs(left.astype(np.int16) - right)
        return cls(int(steps.max()), float(steps.mean()), float(np.count_nonzero(steps) / steps.size))

    @property
    def is_acceptable(self) -> bool:
        """Whether it is within the bound of reduced precision."""
        return self.largest <= LARGEST_STEPS and self.mean <= MEAN_STEPS

    def __str__(self) -> str:
        return f"{self.largest} steps at most, {self.mean:.3g} on average, in {self.share:.3g} of the pixels"


Prior = Literal["standard_normal", "uniform", "gumbel"]
Role = Literal["latent", "label", "code", "condition", "sample", "pixels", "logit"]
Datatype = Literal["FP32", "FP16", "UINT8", "INT64"]
GraphKind = Literal["generator", "discriminator", "encoder"]

_NUMPY_TYPES: Mapping[Datatype, type[np.generic]] = {
    "FP32": np.float32,
    "FP16": np.float16,
    "UINT8": np.uint8,
    "INT64": np.int64,
}


@dataclass(frozen=True, slots=True, order=True)
class PackageKey:
    """The name of one immutable package.

    Attributes:
        name: `[a-z0-9][a-z0-9_-]{0,63}`.
        version: a positive integer.
    """

    name: str
    version: int

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a graph, in the words of the Open Inference Protocol.

    Attributes:
        name: the tensor's name in the graph.
        datatype: its element type.
        shape: its shape with −1 for the batch, which comes first.
        role: what it means.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    role: Role

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The element type of its arrays."""
        return np.dtype(_NUMPY_TYPES[self.datatype])


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a replay may stray from the golden outputs, on one provider at one precision.

    Attributes:
        provider: ONNX Runtime's name, as in `CPUExecutionProvider`, or `OpenVINO`.
        precision: `fp32`, `tf32`, `fp16` or `bf16`.
        sample: largest absolute difference of a sample's value, in the sample's units.
        pixels: largest absolute difference of a pixel, in steps of 1/255.
        logit: largest absolute difference of a logit, in nats.
        latent: largest absolute difference of an encoder's latent; None as `sample`.
        code: largest absolute difference of a code that is read back; None as `sample`.
    """

    provider: str
    precision: str
    sample: float
    pixels: int
    logit: float
    latent: float | None = None
    code: float | None = None


@dataclass(frozen=True, slots=True)
class CodeSpec:
    """Which codes a generator takes (InfoGAN), in order: the categorical ones, then the continuous ones.

    Attributes:
        categorical: how many values each categorical code has; a one-hot vector each in the code tensor.
        continuous: (low, high) of each continuous code; one element each.
    """

    categorical: tuple[int, ...]
    continuous: tuple[tuple[float, float], ...]

    @property
    def count(self) -> int:
        """Q, how many codes there are."""
        return len(self.categorical) + len(self.continuous)

    @property
    def width(self) -> int:
        """K, elements of the code tensor."""
        return sum(self.categorical) + len(self.continuous)


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One ONNX graph.

    Attributes:
        model: the serialized graph, already vetted and hashed.
        inputs: its inputs, in order.
        outputs: its outputs, in order.
        golden: tensor name → [G, ...] array, for every input and output: what the exporter fed and saw.
        batch_coupled: whether a sample's output depends on its batch-mates (minibatch statistics); such a graph is
            never batched across callers and never padded.
        pack: how many samples one logit judges together (PacGAN); 1 for all others and for generators.
        density_ratio: what a discriminator's logits say of log p_data/p_g; None where that is not known.
    """

    model: bytes = field(repr=False)
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    golden: dict[str, NDArray[np.generic]] = field(repr=False)
    batch_coupled: bool = False
    pack: int = 1
    density_ratio: DensityRatio | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageGraphs:
    """One package, as the engine sees it.

    Attributes:
        key: its name and version.
        generator: z → sample and, of images, pixels.
        discriminator: sample → logit, where the package has one.
        encoder: sample → latent or codes, where the package has one.
        latent_size: Z.
        prior: the latent's distribution.
        label_count: classes of a conditional package, else None.
        codes: which the generator takes, else None.
        condition_count: ids that the generator draws for, else None.
        item_count: items that a sample is one of, else None.
        sample_range: (lo, hi) of an image's values: pixel u means lo + (hi − lo)·u/255; None for other samples.
        tolerances: one a provider and precision.
    """

    key: PackageKey
    generator: GraphSpec
    discriminator: GraphSpec | None
    encoder: GraphSpec | None
    latent_size: int
    prior: Prior
    label_count: int | None
    codes: CodeSpec | None
    condition_count: int | None
    item_count: int | None
    sample_range: tuple[float, float] | None
    tolerances: tuple[Tolerance, ...]


@dataclass(frozen=True, slots=True)
class GraphReport:
    """What loading one graph showed on this machine.

    Attributes:
        provider: what really runs it: ONNX Runtime's name of its provider, or `OpenVINO`.
        buckets: batch sizes in use, ascending.
        reproducible: whether every sample's bytes are proven equal in all of `buckets` and in every slot.
        largest_deviation: largest absolute difference between any two batch sizes tried, in the output's units.
        golden_deviation: largest absolute difference from the golden outputs.
        fingerprint: SHA-256 of what computes it: runtime, provider, precision, and the bytes that it answered here to
            golden rows. Equal wherever the graph gives equal bytes.
        runtime: the library that computes it and its version, as in `onnxruntime 1.31.1`.
        precision: of the arithmetic.
        pixel_difference: of its pixels from the golden ones; None where it makes none.
    """

    provider: str
    buckets: tuple[int, ...]
    reproducible: bool
    largest_deviation: float
    golden_deviation: float
    fingerprint: str
    runtime: str
    precision: Precision
    pixel_difference: PixelDifference | None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading a package showed.

    Attributes:
        generator: its generator.
        discriminator: its discriminator, where it has one.
        encoder: its encoder, where it has one.
        load_s: seconds from bytes to ready, golden replay and warm-up included.
    """

    generator: GraphReport
    discriminator: GraphReport | None
    encoder: GraphReport | None
    load_s: float
