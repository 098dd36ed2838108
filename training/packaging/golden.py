"""Golden vectors: a few inputs with the outputs that the exporter saw, which the service replays before it serves.

A replay on another machine differs by rounding, because kernels add in another order there. How much is allowed is
stated for each provider and precision, and rests on what two implementations on this machine differ by:

    CPU, fp32     eight times what torch and ONNX Runtime differ by here, but no less than a floor, since other
                  instruction sets (AVX-512, NEON) sum in another order still
    CUDA, fp32    ten times that floor: cuDNN may choose transformed convolutions, which round more coarsely (TF32 off)

All are far below what a wrong weight or a halved precision does, and below half a step of a pixel.

Shapes: G golden vectors.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.packaging.graphs import LATENT, LOGIT, PIXELS, SAMPLE
from training.packaging.parity import Parity, logit_scale
from training.packaging.runtime import Arrays, Graph

COUNT: Final = 16  # enough to touch every weight of a convolution many times, small enough for a repository
SAFETY = 8.0  # against what was measured on one machine only
SAMPLE_FLOOR = 1e-4  # 1/78 of a step between two bytes
LOGIT_FLOOR = 1e-4  # of the largest logit
PIXEL_STEPS = 1  # a sample within rounding of a tie may fall on either side
CUDA_FACTOR = 10.0


@dataclass(frozen=True)
class Tolerance:
    """How far a replay may stray on one provider at one precision.

    Attributes:
        provider: ONNX Runtime's name.
        precision: `fp32`: TF32 off.
        sample: largest absolute difference, in the sample's units.
        pixels: largest absolute difference, in steps of 1/255.
        logit: largest absolute difference.
    """

    provider: str
    precision: str
    sample: float
    pixels: int
    logit: float


def vectors(
    generator: Graph, latents: NDArray[np.float32], discriminator: Graph, samples: NDArray[np.float32]
) -> Arrays:
    """Run both graphs once and keep what went in and came out.

    Args:
        generator: its graph.
        latents: [G, Z].
        discriminator: its graph.
        samples: [G, C, H, W].

    Returns:
        Arrays named `<graph>.<tensor>`.
    """
    generated, judged = generator.run(latents), discriminator.run(samples)
    return {
        f"generator.{LATENT}": latents,
        f"generator.{SAMPLE}": generated[SAMPLE],
        f"generator.{PIXELS}": generated[PIXELS],
        f"discriminator.{SAMPLE}": samples,
        f"discriminator.{LOGIT}": judged[LOGIT],
    }


def tolerances(arrays: Arrays, parity: Parity) -> list[Tolerance]:
    """How far a replay may stray.

    Args:
        arrays: the golden vectors, for the size of their logits.
        parity: what torch and ONNX Runtime differ by on this machine.

    Returns:
        One a provider and precision.
    """
    scale = logit_scale(arrays[f"discriminator.{LOGIT}"])
    sample = max(SAFETY * parity.sample, SAMPLE_FLOOR)
    logit = max(SAFETY * parity.logit, LOGIT_FLOOR) * scale
    return [
        Tolerance("CPUExecutionProvider", "fp32", sample, PIXEL_STEPS, logit),
        Tolerance("CUDAExecutionProvider", "fp32", CUDA_FACTOR * sample, PIXEL_STEPS, CUDA_FACTOR * logit),
    ]


def pack(arrays: Arrays) -> bytes:
    """Serialize as NPZ; the same arrays give the same bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
