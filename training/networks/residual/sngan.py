"""SNGAN's residual pair: batch-normalised blocks that double the map, spectrally normalised ones that halve it.

    generator      z -> linear -> coarsest map -> [up block] ... -> norm, relu, 3x3 -> tanh
    up block       1x1(up x2(x)) + 3x3(relu(norm(3x3(up x2(relu(norm(x)))))))
    discriminator  x -> [block, pool x2] ... -> [block] ... -> relu, sum over the map -> linear -> logit
    block          x + 3x3(relu(3x3(relu(x)))), with a 1x1 at the skip where the channels or the size change

Maps are doubled by nearest neighbours, which together with the following convolution is one transposed convolution
(`training.networks.dcgan.UpsampledConv`). The generator's batch normalisation has fixed statistics in a package, and
the discriminator has none, so a sample's score does not depend on its batch. Classes enter as for every other kind
(`training.networks.conditioning`).

Shapes: B batch, Z latent, C H W channels, height and width, F features, m samples that one logit judges together.

References:
    Miyato et al., Spectral Normalization for Generative Adversarial Networks (2018), appendix B.4, tables 4 and 5.
    Lee and Town, Mimicry: Towards the Reproducibility of GAN Research (2020): the widths for 48 to 128 pixels.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate

from training.networks import weights
from training.networks.base import DiscriminatorKeys, GeneratorKeys, Task
from training.networks.conditioning import ConditionalGenerator, ImageDiscriminator, draw_classes
from training.networks.dcgan import COARSEST_PIXELS, Size, UpsampledConv, Widths, halvings
from training.tables import Range

SMALL_PIXELS: Final = 32  # up to here the authors' widths are constant
SMALL_GENERATOR_WIDTH, SMALL_DISCRIMINATOR_WIDTH, SMALL_HALVINGS, SMALL_FLAT_BLOCKS = 256, 128, 2, 2
FINEST_WIDTH, WIDEST = 64, 1024  # of larger images
FEWEST_HALVINGS, FINAL_PIXELS = 5, 4  # of larger images' discriminator: at least so many, down to so few pixels
RELU_SLOPE: Final = 0.0  # below zero


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(GeneratorKeys):
    """The `[generator]` table of kind "sngan".

    Attributes:
        widths: channels from the coarsest map to full resolution, one for each size; "auto" halves the image until it
            is at most 7 pixels, with 256 channels everywhere up to 32 pixels, and for larger images 64 at full
            resolution and twice as many after each halving, at most 1024.
    """

    kind: ClassVar[str] = "sngan"

    widths: Widths = "auto"


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(DiscriminatorKeys):
    """The `[discriminator]` table of kind "sngan".

    Attributes:
        widths: channels after each halving, from fine to coarse; "auto" halves twice up to 32 pixels, with 128
            channels, and larger images five times or more, from 64 channels to at most 1024.
        flat_blocks: blocks after the last halving; "auto" is 2 up to 32 pixels, none up to 64, and 1 beyond.
        spectral_norm: divide every weight by its largest singular value.
    """

    kind: ClassVar[str] = "sngan"

    widths: Widths = "auto"
    flat_blocks: Annotated[int, Range(at_least=0)] | Literal["auto"] = "auto"
    spectral_norm: bool = True


def generator_widths(size: Size) -> tuple[int, ...]:
    """Channels for "auto", from the coarsest map to full resolution."""
    stages = 1
    while max(halvings(size, stages)[-1]) > COARSEST_PIXELS:
        stages += 1
    if max(size) <= SMALL_PIXELS:
        return (SMALL_GENERATOR_WIDTH,) * (stages + 1)
    return tuple(min(FINEST_WIDTH << stage, WIDEST) for stage in range(stages, -1, -1))


def discriminator_widths(size: Size) -> tuple[int, ...]:
    """Channels for "auto", after each halving."""
    if max(size) <= SMALL_PIXELS:
        return (SMALL_DISCRIMINATOR_WIDTH,) * SMALL_HALVINGS
    stages = FEWEST_HALVINGS
    while max(halvings(size, stages)[-1]) > FINAL_PIXELS:
        stages += 1
    return tuple(min(FINEST_WIDTH << stage, WIDEST) for stage in range(stages))


def flat_blocks(size: Size) -> int:
    """Blocks for "auto" after the last halving."""
    if max(size) <= SMALL_PIXELS:
        return SMALL_FLAT_BLOCKS
    return int(max(halvings(size, FEWEST_HALVINGS)[-1]) > FINAL_PIXELS // 2)


class UpBlock(nn.Module):
    """A block that doubles the map; cropped where the target is odd.

    Args:
        coarse: channels before.
        fine: channels afterwards.
        target: height and width afterwards.
    """

    def __init__(self, coarse: int, fine: int, target: Size) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.BatchNorm2d(coarse),
            nn.ReLU(),
            UpsampledConv(coarse, fine, target, bias=True),
            nn.BatchNorm2d(fine),
            nn.ReLU(),
            nn.Conv2d(fine, fine, 3, padding=1),
        )
        self.skip = nn.Conv2d(coarse, fine, 1)  # before the map is doubled, where it costs a quarter
        self.height, self.width = target

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, coarse, ceil(H/2), ceil(W/2)] to [B, fine, H, W]."""
        skip = interpolate(self.skip(x), scale_factor=2.0, mode="nearest")[:, :, : self.height, : self.width]
        branch: Tensor = self.branch(x)
        return skip + branch


class DownBlock(nn.Module):
    """A block of the discriminator.

    Args:
        before: channels.
        after: channels afterwards.
        source: height and width before; None keeps the size.
        rectified: whether the branch begins with a rectifier; the one that sees the image does not.
    """

    def __init__(self, before: int, after: int, source: Size | None, *, rectified: bool = True) -> None:
        super().__init__()
        inside = before if rectified else after
        self.branch = nn.Sequential(
            *([nn.ReLU()] if rectified else []),
            nn.Conv2d(before, inside, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(inside, after, 3, padding=1),
        )
        self.skip = nn.Conv2d(before, after, 1) if source is not None or before != after else None
        self.halve = None if source is None else nn.ZeroPad2d((0, source[1] % 2, 0, source[0] % 2))

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, before, H, W] to [B, after, ceil(H/2), ceil(W/2)], or of the same size."""
        branch: Tensor = self.branch(x)
        if self.halve is not None:
            branch, x = avg_pool2d(self.halve(branch), 2), avg_pool2d(self.halve(x), 2)
        return branch + (x if self.skip is None else self.skip(x))


class SumOverMap(nn.Module):
    """Rectifies a map and adds it up."""

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, H, W] to [B, C]."""
        return x.relu().sum((2, 3))


class Generator(ConditionalGenerator):
    """Latents [B, Z] to samples [B, C, H, W] in (-1, 1).

    Args:
        task: the images' shape, the number of classes and the width of the codes.
    """

    def __init__(self, config: GeneratorConfig, task: Task) -> None:
        super().__init__()
        channels, *size = task.sample_shape
        full: Size = (size[0], size[1])
        widths = generator_widths(full) if config.widths == "auto" else config.widths
        sizes = halvings(full, len(widths) - 1)[::-1]
        base = (widths[0], *sizes[0])
        self.begin(config, task, math.prod(base))
        blocks = [UpBlock(*pair, target) for pair, target in zip(pairwise(widths), sizes[1:], strict=True)]
        last = nn.Conv2d(widths[-1], channels, 3, padding=1)
        self.layers = nn.Sequential(
            nn.Unflatten(1, base), *blocks, nn.BatchNorm2d(widths[-1]), nn.ReLU(), last, nn.Tanh()
        )
        _initialise(self)


class Discriminator(ImageDiscriminator):
    """Samples [B, C, H, W] to logits [B / m], each a function of its own samples.

    Args:
        task: the images' shape, the number of classes, m, and the width of the latents that belong to samples.
    """

    def __init__(self, config: DiscriminatorConfig, task: Task) -> None:
        super().__init__()
        channels, *size = task.sample_shape
        full: Size = (size[0], size[1])
        widths = discriminator_widths(full) if config.widths == "auto" else config.widths
        flat = flat_blocks(full) if config.flat_blocks == "auto" else config.flat_blocks
        sizes, through = halvings(full, len(widths)), (channels * task.pack, *widths)
        halving = [
            DownBlock(*pair, source, rectified=place > 0)
            for place, (pair, source) in enumerate(zip(pairwise(through), sizes[:-1], strict=True))
        ]
        keeping = [DownBlock(widths[-1], widths[-1], None) for _ in range(flat)]
        self.layers = nn.Sequential(*halving, *keeping, SumOverMap())
        self.conclude(task, widths[-1], RELU_SLOPE)
        _initialise(self)
        if config.spectral_norm:
            self.normalise_spectrally()


def _initialise(network: ConditionalGenerator | ImageDiscriminator) -> None:
    """Draw all weights: of rectified variance inside branches, of the input's variance elsewhere.

    The authors' are uniform, of the same variance wherever a layer keeps its number of channels.

    References:
        Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks (2010).
    """
    rectified = {
        layer
        for block in network.modules()
        if isinstance(block, UpBlock | DownBlock)
        for layer in block.branch.modules()
    }
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            weights.draw(layer, "he", RELU_SLOPE if layer in rectified else None)
    draw_classes(network)
