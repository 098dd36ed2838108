"""Golden vectors: a few inputs with the outputs that the exporter saw, which the service replays before it serves.

A replay on another machine differs by rounding, because kernels add in another order. The tolerance is stated for each
provider and precision, from the difference of two implementations on this machine:

    CPU, fp32     eight times what torch and ONNX Runtime differ by here, but no less than a floor, since other
                  instruction sets (AVX-512, NEON) sum in another order still
    CUDA, fp32    ten times that floor: cuDNN may choose transformed convolutions, which round more coarsely (TF32 off)

All are far below the effect of a wrong weight or of half precision, and below half a step of a pixel.

Shapes: G golden vectors.
"""

import dataclasses
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.export.graphs.interface import CODE, LATENT, LOGIT, SAMPLE
from training.export.graphs.parity import Parity, magnitude
from training.export.graphs.runtime import Arrays, Graph

COUNT: Final = 16  # every weight of a convolution is used many times, and the file is small
SAFETY = 8.0  # times the difference measured on one machine
SAMPLE_FLOOR = 1e-4  # of the largest value; of images, 1/78 of a step between two bytes
LOGIT_FLOOR = 1e-4  # of the largest logit
ENCODED_FLOOR = 1e-4  # of the largest value that an encoder reads
PIXEL_STEPS = 1  # a sample within rounding of a tie may fall on either side
CUDA_FACTOR = 10.0


@dataclass(frozen=True)
class Tolerance:
    """Largest difference of a replay on one provider at one precision.

    Attributes:
        provider: ONNX Runtime's name.
        precision: `fp32`: TF32 off.
        sample: largest absolute difference, in the sample's units.
        pixels: largest absolute difference, in steps of 1/255.
        logit: largest absolute difference.
        latent: largest absolute difference of a latent that an encoder finds; None without one.
    """

    provider: str
    precision: str
    sample: float
    pixels: int
    logit: float
    latent: float | None = None
    code: float | None = None

    def entry(self) -> dict[str, object]:
        """The manifest's entry."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}


def vectors(graphs: Mapping[str, tuple[Graph, Arrays]]) -> Arrays:
    """Run every graph once and keep its inputs and outputs.

    Args:
        graphs: by name, each with its inputs [G, ...] by name.

    Returns:
        Arrays named `<graph>.<tensor>`.
    """
    return {
        f"{name}.{tensor}": values
        for name, (graph, inputs) in graphs.items()
        for tensor, values in {**inputs, **graph.run(inputs)}.items()
    }


def tolerances(arrays: Arrays, parity: Parity) -> list[Tolerance]:
    """Derive the tolerances of a replay.

    Args:
        arrays: the golden vectors, for the size of their samples and logits.
        parity: what torch and ONNX Runtime differ by on this machine.

    Returns:
        One a provider and precision.
    """
    sample = max(SAFETY * parity.sample, SAMPLE_FLOOR) * magnitude(arrays[f"generator.{SAMPLE}"])
    logits = arrays.get(f"discriminator.{LOGIT}")
    logit = max(SAFETY * parity.logit, LOGIT_FLOOR) * (1.0 if logits is None else magnitude(logits))
    encoded = {
        tensor: max(SAFETY * parity.encoded, ENCODED_FLOOR) * magnitude(arrays[f"encoder.{tensor}"])
        for tensor in (LATENT, CODE)
        if parity.encoded is not None and f"encoder.{tensor}" in arrays
    }

    def tolerance(provider: str, factor: float) -> Tolerance:
        read = {tensor: factor * value for tensor, value in encoded.items()}
        return Tolerance(provider, "fp32", factor * sample, PIXEL_STEPS, factor * logit, **read)

    return [tolerance("CPUExecutionProvider", 1), tolerance("CUDAExecutionProvider", CUDA_FACTOR)]


def pack(arrays: Arrays) -> bytes:
    """Serialize as NPZ; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
