"""Compares graphs with their networks: torch against ONNX Runtime, at several batch sizes.

A graph can be wrong for one batch size only (a batch of one baked in as a constant, a bias of the wrong shape) and
right for the example it was exported with, so several sizes and latents are tried. The export stops if any output
differs beyond its tolerance.

Shapes: B batch.
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
from training.export.graphs.interface import LOGIT, PIXELS, SAMPLE
from training.export.graphs.runtime import Arrays, Graph, rows_of

BATCH_SIZES: Final = (1, 2, 3, 5, 8, 16, 64)  # one, the example's, odd ones, usual ones, one beyond vector widths
ROUNDS: Final = 3  # with different inputs each
INPUTS_NEEDED: Final = ROUNDS * sum(BATCH_SIZES)

# Well above rounding errors, and well below the difference of a wrong graph.
SAMPLE_TOLERANCE = 1e-4  # of the largest value; absolute below 1, as for images
PIXEL_TOLERANCE = 1  # a sample within rounding of a tie between two bytes may fall on either side
LOGIT_TOLERANCE = 1e-4  # of the largest logit, which has no scale of its own; absolute below 1
ENCODED_TOLERANCE = 1e-4  # of the largest latent or code; absolute below 1


@dataclass(frozen=True)
class Parity:
    """Largest differences seen.

    Attributes:
        sample: of a sample's value, relative to the largest one where that is above 1 (an image's is not).
        pixels: of a byte; None where samples are no images.
        logit: of a logit, relative to the largest one where that is above 1.
        encoded: of a latent or code, relative to the largest one where that is above 1; None without an encoder.
    """

    sample: float
    pixels: int | None
    logit: float
    encoded: float | None = None

    def __str__(self) -> str:
        """In words: `samples within 1.2e-06, pixels within 0, logits within 3.4e-07 of the largest`."""
        pixels = "" if self.pixels is None else f"pixels within {self.pixels}, "
        encoded = "" if self.encoded is None else f", what the encoder reads within {self.encoded:.1e}"
        return f"samples within {self.sample:.1e}, {pixels}logits within {self.logit:.1e} of the largest{encoded}"


def check_generator(network: nn.Module, graph: Graph, inputs: Arrays) -> tuple[float, int | None]:
    """Compare a generator with its graph.

    Args:
        network: as it is served, without the quantisation: inputs to samples.
        inputs: [INPUTS_NEEDED, ...] by name, in the order of the network's arguments.

    Returns:
        Largest difference of a sample's value and of a pixel, as `Parity` counts them.

    Raises:
        ExportError: which output differs, by how much and at which batch size.
    """
    sample_gaps, pixel_gaps = [], []
    for batch in _batches(inputs):
        sample, outputs = _call(network, batch), graph.run(batch)
        scale = magnitude(sample.numpy()) if sample.is_floating_point() else 1.0  # items are compared exactly
        sample_gaps.append(_gap(sample.numpy(), outputs[SAMPLE]) / scale)
        _refuse_beyond(SAMPLE, sample_gaps[-1], SAMPLE_TOLERANCE, len(sample))
        if PIXELS in outputs:
            pixels = to_bytes(sample).permute(0, 2, 3, 1).numpy().astype(np.int16)
            pixel_gaps.append(int(_gap(pixels, outputs[PIXELS].astype(np.int16))))
            _refuse_beyond(PIXELS, pixel_gaps[-1], PIXEL_TOLERANCE, len(sample))
    return max(sample_gaps), max(pixel_gaps, default=None)


def check_discriminator(network: nn.Module, graph: Graph, inputs: Arrays) -> float:
    """Compare a discriminator with its graph.

    Args:
        inputs: [INPUTS_NEEDED, ...] by name, in the order of the network's arguments.

    Returns:
        Largest difference of a logit, as `Parity` counts it.

    Raises:
        ExportError: by how much the logit differs and at which batch size.
    """
    return _worst_gap(network, graph, inputs, LOGIT, LOGIT_TOLERANCE)


def check_encoder(network: nn.Module, graph: Graph, inputs: Arrays, read: str) -> float:
    """Compare an encoder with its graph.

    Args:
        inputs: [INPUTS_NEEDED, ...] by name, in the order of the network's arguments.

    Returns:
        Largest difference of a latent or code, as `Parity` counts it.

    Raises:
        ExportError: by how much it differs and at which batch size.
    """
    return _worst_gap(network, graph, inputs, read, ENCODED_TOLERANCE)


def depends_on_batch_mates(run: Callable[[Arrays], NDArray[np.generic]], inputs: Arrays) -> bool:
    """Whether an output of a graph depends on the other rows of its batch (minibatch statistics).

    Args:
        run: the graph, [B, ...] by name to one output [B, ...].
        inputs: [B, ...] by name, B at least 2, rows that differ.

    Returns:
        True if a row alone has another output than among the others, beyond rounding.
    """
    together = run(inputs)
    alone = np.concatenate([run(rows_of(inputs, slice(row, row + 1))) for row in range(len(together))])
    return _gap(together, alone) > LOGIT_TOLERANCE * magnitude(together)


def magnitude(values: NDArray[np.generic]) -> float:
    """The size against which rounding errors are measured: the largest magnitude, at least 1."""
    return max(1.0, float(np.abs(values).max()))


def _worst_gap(network: nn.Module, graph: Graph, inputs: Arrays, output: str, tolerance: float) -> float:
    """Largest difference of the one output of a network, relative to its magnitude."""
    worst = 0.0
    for batch in _batches(inputs):
        expected = _call(network, batch).numpy()
        gap = _gap(expected, graph.run(batch)[output]) / magnitude(expected)
        _refuse_beyond(output, gap, tolerance, len(expected))
        worst = max(worst, gap)
    return worst


def _call(network: nn.Module, inputs: Arrays) -> Tensor:
    with torch.no_grad():
        output: Tensor = network(*(torch.from_numpy(values) for values in inputs.values()))
    return output


def _batches(inputs: Arrays) -> Iterator[Arrays]:
    start = 0
    for size in BATCH_SIZES * ROUNDS:
        yield rows_of(inputs, slice(start, start + size))
        start += size


def _gap(expected: NDArray[np.generic], found: NDArray[np.generic]) -> float:
    return float(np.abs(np.subtract(expected, found, dtype=np.float64)).max())


def _refuse_beyond(tensor: str, gap: float, tolerance: float, batch_size: int) -> None:
    if not gap <= tolerance:  # so that NaN is refused too
        raise ExportError(
            f"the exported graph is not the network: `{tensor}` differs by {gap:.3g} at batch {batch_size}, "
            f"and at most {tolerance:g} is rounding"
        )
