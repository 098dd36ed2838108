"""Whether the graphs compute what the networks compute: torch against ONNX Runtime, at every kind of batch size.

A graph can be wrong for one batch size only (a batch of one baked in as a constant, a bias of the wrong shape) and
right for the example it was exported with, so several sizes and latents are tried. Export goes no further when any
output strays: a package that is not its network is worse than none.

Shapes: B batch, Z latent, C H W channels, height and width.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.data.pixels import to_bytes
from training.errors import ExportError
from training.packaging.graphs import LOGIT, PIXELS, SAMPLE
from training.packaging.runtime import Graph

BATCH_SIZES: Final = (1, 2, 3, 5, 8, 16, 64)  # one, the example's, odd ones, usual ones, one beyond vector widths
ROUNDS: Final = 3  # with different inputs each
INPUTS_NEEDED: Final = ROUNDS * sum(BATCH_SIZES)

# A correct graph differs by rounding: 3e-6 was measured on samples of an MNIST generator, so this is thirtyfold. A
# wrong one differs by 1e-2 and more.
SAMPLE_TOLERANCE = 1e-4
PIXEL_TOLERANCE = 1  # a sample within rounding of a tie between two bytes may fall on either side
LOGIT_TOLERANCE = 1e-4  # of the largest logit, which has no scale of its own; absolute below 1


@dataclass(frozen=True)
class Parity:
    """Largest absolute differences seen; `logit` is relative to the largest logit where that is above 1."""

    sample: float
    pixels: int
    logit: float


def check_generator(network: nn.Module, graph: Graph, latents: Tensor) -> tuple[float, int]:
    """Compare a generator with its graph.

    Args:
        network: in evaluation mode, as it was trained.
        graph: what was exported from it.
        latents: [INPUTS_NEEDED, Z].

    Returns:
        Largest difference of a sample's value and of a pixel.

    Raises:
        ExportError: which output strays, how far and at which batch size.
    """
    worst_sample, worst_pixels = 0.0, 0
    for batch in _batches(latents):
        with torch.no_grad():
            sample = network(batch)
        outputs = graph.run(batch.numpy())
        pixels = to_bytes(sample).permute(0, 2, 3, 1).numpy().astype(np.int16)
        sample_gap = _gap(sample.numpy(), outputs[SAMPLE])
        pixel_gap = int(_gap(pixels, outputs[PIXELS].astype(np.int16)))
        _refuse_beyond(SAMPLE, sample_gap, SAMPLE_TOLERANCE, len(batch))
        _refuse_beyond(PIXELS, pixel_gap, PIXEL_TOLERANCE, len(batch))
        worst_sample, worst_pixels = max(worst_sample, sample_gap), max(worst_pixels, pixel_gap)
    return worst_sample, worst_pixels


def check_discriminator(network: nn.Module, graph: Graph, samples: Tensor) -> float:
    """Compare a discriminator with its graph.

    Args:
        network: in evaluation mode, as it was trained.
        graph: what was exported from it.
        samples: [INPUTS_NEEDED, C, H, W].

    Returns:
        Largest difference of a logit, as `Parity` counts it.

    Raises:
        ExportError: how far the logit strays and at which batch size.
    """
    worst = 0.0
    for batch in _batches(samples):
        with torch.no_grad():
            expected = network(batch).numpy()
        gap = _gap(expected, graph.run(batch.numpy())[LOGIT]) / logit_scale(expected)
        _refuse_beyond(LOGIT, gap, LOGIT_TOLERANCE, len(batch))
        worst = max(worst, gap)
    return worst


def depends_on_batch_mates(
    run: Callable[[NDArray[np.float32]], NDArray[np.generic]], values: NDArray[np.float32]
) -> bool:
    """Whether an output of a graph depends on the other rows of its batch (minibatch statistics).

    Args:
        run: the graph, [B, ...] to one output [B, ...].
        values: [B, ...], B at least 2, rows that differ.

    Returns:
        True if a row alone is answered otherwise than among the others, beyond rounding.
    """
    together = run(values)
    alone = np.concatenate([run(values[row : row + 1]) for row in range(len(values))])
    return _gap(together, alone) > LOGIT_TOLERANCE * logit_scale(together)


def logit_scale(logits: NDArray[np.generic]) -> float:
    """The size against which a logit's rounding error is measured: the largest magnitude, at least 1."""
    return max(1.0, float(np.abs(logits).max()))


def _batches(values: Tensor) -> Iterator[Tensor]:
    sizes = BATCH_SIZES * ROUNDS
    yield from torch.split(values, list(sizes))


def _gap(expected: NDArray[np.generic], found: NDArray[np.generic]) -> float:
    return float(np.abs(np.subtract(expected, found, dtype=np.float64)).max())


def _refuse_beyond(tensor: str, gap: float, tolerance: float, batch_size: int) -> None:
    if not gap <= tolerance:  # so that NaN is refused too
        raise ExportError(
            f"the exported graph is not the network: `{tensor}` differs by {gap:.3g} at batch {batch_size}, "
            f"and at most {tolerance:g} is rounding"
        )
