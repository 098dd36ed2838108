"""A package as the engine sees it, and the reports of loading it: plain data that can be pickled.

Shapes: Z latent coordinates, Q codes, K elements of the code tensor, G golden rows.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from service.engine.config import Precision
from service.engine.pixels import PixelDifference

Array = NDArray[np.generic]
Feeds = dict[str, Array]
Outputs = dict[str, Array]
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
        name: in the graph.
        datatype: of its elements.
        shape: with −1 for the batch, which comes first.
        role: what it means.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    role: Role

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """NumPy's type of its elements."""
        return np.dtype(_NUMPY_TYPES[self.datatype])


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest absolute difference of a replay from the golden outputs, on one provider at one precision.

    Attributes:
        provider: ONNX Runtime's name, as in `CPUExecutionProvider`, or `OpenVINO`.
        precision: `fp32`, `tf32`, `fp16` or `bf16`.
        sample: of a sample's value, in the sample's units.
        pixels: of a pixel, in steps of 1/255.
        logit: of a logit, in nats.
        latent: of an encoder's latent; None as `sample`.
        code: of a code that an encoder reads; None as `sample`.
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
    """The codes that a generator takes (InfoGAN), in order: the categorical ones, then the continuous ones.

    Attributes:
        categorical: number of values of each categorical code; a one-hot vector each in the code tensor.
        continuous: (low, high) of each continuous code; one element each.
    """

    categorical: tuple[int, ...]
    continuous: tuple[tuple[float, float], ...]

    @property
    def count(self) -> int:
        """Q."""
        return len(self.categorical) + len(self.continuous)

    @property
    def width(self) -> int:
        """K."""
        return sum(self.categorical) + len(self.continuous)


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
    """The estimate of log p_data/p_g that the exporter fitted to a discriminator's logits.

    Selection needs this ratio, not the logit of some loss; `/score` reads the same curve.

    Attributes:
        curve: from a logit to the log ratio.
        highest_logit: of the exporter's generated reference samples.
    """

    curve: Line | Knots
    highest_logit: float

    @property
    def ceiling(self) -> float:
        """The log ratio at `highest_logit`, in nats, which few generated samples exceed."""
        return float(self.curve.at(self.highest_logit))


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """One ONNX graph.

    Attributes:
        model: the serialized graph, already vetted and hashed.
        inputs: in order.
        outputs: in order.
        golden: tensor name → [G, …] for every input and output: what the exporter fed and what it saw.
        batch_coupled: whether a sample's output depends on the others of its batch (minibatch statistics); such a graph
            is never batched across requests and never padded.
        pack: number of samples that one logit judges together (PacGAN); 1 otherwise.
        density_ratio: of a discriminator's logits; None where it is not known.
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
    """One package.

    Attributes:
        generator: z → sample and, for images, pixels.
        discriminator: sample → logit; None where there is none.
        encoder: sample → latent, codes or both; None where there is none.
        latent_size: Z.
        prior: of each latent coordinate.
        label_count: classes of a conditional package, else None.
        codes: that the generator takes, else None.
        condition_count: condition ids that the generator takes, else None.
        item_count: items that a sample is one of, else None.
        sample_range: (lo, hi) of an image's values: pixel u means lo + (hi − lo)·u/255; None for other samples.
        tolerances: one per provider and precision.
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
class DeviceReport:
    """The device that runs a graph, and what is between it and the runtime; `unknown` is what could not be asked.

    Attributes:
        name: of the device.
        driver: its version.
        cuda: version of the CUDA runtime.
        cudnn: version of cuDNN.
        cublas: version of cuBLAS.
        cpu_operators: operators of the graph that run on the CPU all the same, with copies before and after.
        form: of the graph, whose bytes are the same run after run: `heuristic`, `exhaustive` or `as_convolutions`
            (`loading/graph_forms.py`).
    """

    name: str
    driver: str
    cuda: str
    cudnn: str
    cublas: str
    cpu_operators: tuple[str, ...] = ()
    form: str = "heuristic"


@dataclass(frozen=True, slots=True)
class GraphReport:
    """What loading one graph showed on this machine.

    Attributes:
        provider: that really runs it: ONNX Runtime's name, or `OpenVINO`.
        buckets: batch sizes in use, ascending; none of a batch-coupled graph.
        reproducible: whether every sample's bytes were equal in all of `buckets` and in every slot.
        largest_deviation: largest absolute difference between any two batch sizes tried, in the output's units.
        golden_deviation: largest absolute difference from the golden outputs.
        fingerprint: SHA-256 of runtime, provider, precision, and the bytes answered here to golden rows; equal wherever
            the graph gives equal bytes.
        runtime: the library and its version, as in `onnxruntime 1.31.1`.
        precision: of the arithmetic.
        pixel_difference: of its pixels from the golden ones; None where it has none.
        device: that runs it; None on the CPU.
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
    device: DeviceReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a package can do for a job.

    Attributes:
        latent_size: Z.
        prior: of each latent coordinate.
        label_count: classes of a conditional package, else None.
        codes: which the generator takes, else None.
        condition_count: ids that the generator draws for, else None.
        item_count: items that a sample is one of, else None.
        sample_shape: of one sample, [C, H, W] of an image.
        pixels_shape: [H, W, C] of an image, else None.
        discriminator_conditioning: what the discriminator takes beside a sample: label, condition.
        encoder_conditioning: what the encoder takes beside a sample.
        largest_group: most samples in one ScoreJob, where they are judged together; None where they are not.
    """

    latent_size: int
    prior: Prior
    label_count: int | None
    codes: CodeSpec | None
    condition_count: int | None
    item_count: int | None
    sample_shape: tuple[int, ...]
    pixels_shape: tuple[int, ...] | None
    discriminator_conditioning: Collection[Role]
    encoder_conditioning: Collection[Role]
    largest_group: int | None


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading a package showed.

    Attributes:
        load_s: seconds from bytes to ready, golden replay and warm-up included.
        capabilities: what it can be asked for.
    """

    generator: GraphReport
    discriminator: GraphReport | None
    encoder: GraphReport | None
    load_s: float
    capabilities: Capabilities
