"""A generator and a discriminator as graphs, proven to be the networks that were trained.

    run ──▶ batch statistics ──▶ ONNX ──▶ parity ──▶ Pair

From here on nobody asks torch: whatever is calibrated, measured or kept as golden comes from a `Pair`, and samples are
bytes, because bytes are what a caller receives.

Shapes: N samples, Z latent, C H W channels, height and width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from training.checkpoint import Run
from training.data.image_data import Bytes, ImageData
from training.data.pixels import to_floats
from training.packaging import batch_statistics, graphs, parity
from training.packaging.draws import Purpose, draw
from training.packaging.graphs import LOGIT, PIXELS, SAMPLE
from training.packaging.parity import Parity
from training.packaging.runtime import Graph

Say = Callable[[str], None]
Floats = NDArray[np.float32]

# Puts the standard error of a channel's mean at a hundredth of its deviation, even on a map of one pixel.
STATISTICS_LATENTS = 10_000


@dataclass(frozen=True)
class Pair:
    """The two graphs of a package, loaded.

    Attributes:
        generator_bytes: serialized.
        discriminator_bytes: serialized.
        generator: latents to samples and pixels.
        discriminator: samples to logits.
        latent_size: Z.
        parity: how far they are from the networks.
    """

    generator_bytes: bytes
    discriminator_bytes: bytes
    generator: Graph
    discriminator: Graph
    latent_size: int
    parity: Parity

    def latents(self, purpose: Purpose, count: int) -> Floats:
        """Latents [count, Z] for one purpose."""
        values: Floats = draw(purpose, count, self.latent_size).numpy()
        return values

    def pixels(self, purpose: Purpose, count: int) -> Bytes:
        """Quantised samples [count, C, H, W]: what is sent, but for the order of the axes."""
        return draw_pixels(self.generator, self.latent_size, purpose, count)

    def logits(self, pixels: Bytes) -> Floats:
        """What the discriminator says of images [N, C, H, W]; [N]."""
        return self.discriminator.output(LOGIT, floats(pixels)).astype(np.float32)


def build(run: Run, images: ImageData, say: Say) -> Pair:
    """Export both networks and prove that the graphs are the networks.

    Args:
        run: the trained pair; the batch statistics of its averaged generator are replaced.
        images: that it was trained on.
        say: told of every stage.

    Returns:
        The graphs.

    Raises:
        ExportError: if a graph would not be faithful.
    """
    latent_size = run.config.generator.latent_size
    if batch_statistics.has_batch_statistics(run.ema):
        say(f"batch statistics: gathering them anew over {STATISTICS_LATENTS:,} latents")
        batch_statistics.reestimate(run.ema, draw(Purpose.BATCH_STATISTICS, STATISTICS_LATENTS, latent_size))
    say(f"graphs: writing ONNX, opset {graphs.OPSET}")
    generator_bytes = graphs.generator_graph(run.ema, latent_size)
    discriminator_bytes = graphs.discriminator_graph(run.discriminator, images.image_shape)
    generator, discriminator = Graph(generator_bytes), Graph(discriminator_bytes)
    latents = draw(Purpose.PARITY, parity.INPUTS_NEEDED, latent_size)
    sample, pixels = parity.check_generator(run.ema, generator, latents)
    judged = half_real(generator.output(SAMPLE, latents.numpy()).astype(np.float32), images)
    logit = parity.check_discriminator(run.discriminator, discriminator, torch.from_numpy(judged))
    say(f"parity: samples within {sample:.1e}, pixels within {pixels}, logits within {logit:.1e} of the largest")
    found = Parity(sample, pixels, logit)
    return Pair(generator_bytes, discriminator_bytes, generator, discriminator, latent_size, found)


def draw_pixels(generator: Graph, latent_size: int, purpose: Purpose, count: int) -> Bytes:
    """Quantised samples of a generator's graph.

    Args:
        generator: latents [N, Z] to pixels [N, H, W, C].
        latent_size: Z.
        purpose: what for.
        count: how many.

    Returns:
        [count, C, H, W].
    """
    pixels = generator.output(PIXELS, draw(purpose, count, latent_size).numpy())
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)).astype(np.uint8, copy=False)


def floats(pixels: Bytes) -> Floats:
    """Bytes [N, C, H, W] as what a discriminator takes."""
    values: Floats = to_floats(torch.from_numpy(pixels.copy())).numpy()
    return values


def half_real(generated: Floats, images: ImageData) -> Floats:
    """Samples [N, C, H, W] of which every second is a held-out image, so that logits of both kinds occur."""
    mixed = generated.copy()
    rows = np.arange(len(mixed[::2])) % len(images.held_out)
    mixed[::2] = floats(images.held_out[rows])
    return mixed
