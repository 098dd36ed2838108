"""A convolutional pair for small images of any size from 4 pixels up and any number of channels.

    generator      z -> linear -> coarsest map -> [nearest x2, crop, 3x3 convolution, norm, activation] ... -> tanh
    discriminator  x -> [4x4 convolution of stride 2, leaky ReLU] ... -> features -> linear -> logit

Both use the same list of sizes, each half of the one before rounded up, so odd and oblong images need no padding. The
generator resizes and convolves, so that every pixel gets equally many contributions and no checkerboard appears; the
two are computed as one (`UpsampledConv`). DCGAN's own transposed convolutions are available too. The discriminator
mixes the samples of a batch only in batch normalisation, and only in training: the exported one has fixed statistics,
so the score of an image does not depend on its batch. `depth` adds residual blocks at every size, `dense` a fully
connected layer on the other side of the coarsest map.

The embedding of a class is added to the generator's coarsest map, and the discriminator projects its features on an
embedding of the class. Where pairs are judged, a hidden layer follows the sample's features and the latent.

Shapes: B batch, Z latent, C H W channels, height and width, K classes or codes, F features, m samples a logit.

References:
    Radford, Metz and Chintala, Unsupervised Representation Learning with DCGAN (2016).
    Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts (2016).
    Miyato et al., Spectral Normalization for GANs (2018).
    Miyato and Koyama, cGANs with Projection Discriminator (2018), figure 1 (equation 3: `conditioning.py`).
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017): judging pairs.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torch.nn.utils.parametrize import register_parametrization

from training.networks import weights
from training.networks.base import DiscriminatorKeys, GeneratorKeys, Task
from training.networks.conditioning import ConditionalGenerator, ImageDiscriminator, draw_classes
from training.networks.weights import InitialWeights
from training.tables import Range

LEAKY_SLOPE = 0.2  # DCGAN's
COARSEST_PIXELS = 7  # where "auto" stops halving: one 4x4 window still sees more than half of such a map
FINEST_WIDTH = 32  # of "auto", at full resolution
WIDEST = 256  # of "auto", however often it halves
CONV_KERNEL = 3

Size = tuple[int, int]
Width = Annotated[int, Range(at_least=1)]
Widths = tuple[Width, ...] | Literal["auto"]
Upsampling = Literal["nearest", "transposed"]
LeakySlope = Annotated[float, Range(at_least=0, at_most=1)]


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(GeneratorKeys):
    """The `[generator]` table of kind "dcgan".

    Attributes:
        upsampling: "nearest" doubles a map by nearest neighbours and convolves it; "transposed" is DCGAN's own, whose
            last layer makes the image from the map of half its size.
        widths: channels from the coarsest map to full resolution, one for each size (of "transposed" to half of it);
            "auto" halves the image until it is at most 7 pixels and doubles the channels with each halving, from 32 at
            full resolution to at most 256.
        depth: residual blocks at each size.
        dense: units of a fully connected layer before the coarsest map, which is then normalised as such a layer is,
            unit by unit; 0 for none.
        norm: batch normalisation as in DCGAN, or none.
        activation: DCGAN's ReLU, or a leaky one.
        initial_weights: see `training.networks.weights`.
    """

    kind: ClassVar[str] = "dcgan"

    upsampling: Upsampling = "nearest"
    widths: Widths = "auto"
    depth: Annotated[int, Range(at_least=0)] = 0
    dense: Annotated[int, Range(at_least=0)] = 0
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "leaky_relu"] = "relu"
    initial_weights: InitialWeights = "he"


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(DiscriminatorKeys):
    """The `[discriminator]` table of kind "dcgan".

    Attributes:
        widths: channels after each halving, from fine to coarse; "auto" halves the image until it is at most 7
            pixels, with 64 channels after the first and twice as many after each further one, at most 256.
        depth: residual blocks after each halving.
        dense: units of a fully connected layer after the coarsest map; 0 for none.
        norm: batch normalisation of all layers but the first, as in DCGAN, or none.
        spectral_norm: divide every weight by its largest singular value.
        leaky_slope: of the leaky ReLUs below zero; DCGAN's, while InfoGAN's authors took 0.1.
        initial_weights: see `training.networks.weights`.
    """

    kind: ClassVar[str] = "dcgan"

    widths: Widths = "auto"
    depth: Annotated[int, Range(at_least=0)] = 0
    dense: Annotated[int, Range(at_least=0)] = 0
    norm: Literal["batch", "none"] = "none"
    spectral_norm: bool = False
    leaky_slope: LeakySlope = LEAKY_SLOPE
    initial_weights: InitialWeights = "he"


def halvings(size: Size, stages: int) -> list[Size]:
    """List the sizes of an image's maps, from full resolution down.

    Args:
        stages: how often to halve, rounding up.

    Returns:
        `stages` + 1 sizes.
    """
    sizes = [size]
    for _ in range(stages):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


def automatic_widths(size: Size) -> tuple[int, ...]:
    """Channels for "auto", from full resolution to the coarsest map.

    Returns:
        One width for each size; at least two, so that there is something to halve.
    """
    stages = 1
    while max(halvings(size, stages)[-1]) > COARSEST_PIXELS:
        stages += 1
    return tuple(min(FINEST_WIDTH * 2**stage, WIDEST) for stage in range(stages + 1))


class ResidualBlock(nn.Module):
    """x + conv(act(conv(x))), the identity at first where the last convolution may start at zero."""

    def __init__(self, width: int, activation: nn.Module, *, zero_start: bool) -> None:
        super().__init__()
        self.activation = activation
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, width, 3, padding=1)
        self.zero_start = zero_start

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, H, W] to the same."""
        branch: Tensor = self.last(self.activation(self.first(x)))
        return x + branch


class SumOfShifts(nn.Module):
    """The 4x4 kernel of a transposed convolution that is a 3x3 convolution of the doubled map.

    Doubling by nearest neighbours is itself a transposed convolution, with a 2x2 kernel of ones, and two linear maps in
    a row are one.
    """

    def forward(self, weight: Tensor) -> Tensor:
        """Shape [fine, coarse, 3, 3] to [coarse, fine, 4, 4]."""
        wide = pad(weight, (1, 1, 1, 1))
        rows = wide[:, :, 1:] + wide[:, :, :-1]
        return (rows[..., 1:] + rows[..., :-1]).flip(2, 3).transpose(0, 1)

    def right_inverse(self, kernel: Tensor) -> Tensor:
        """The weight of a kernel, or of the nearest one that is such a sum."""
        shifts = torch.eye(CONV_KERNEL + 1, CONV_KERNEL) + torch.eye(CONV_KERNEL + 1, CONV_KERNEL).roll(1, 0)
        back = torch.linalg.pinv(shifts.double()).to(kernel)
        weight: Tensor = back @ kernel.transpose(0, 1).flip(2, 3) @ back.T
        return weight


class TransposedConv(nn.ConvTranspose2d):
    """A 4x4 convolution, transposed, that doubles the map; cropped where the target is odd.

    Args:
        coarse: channels of the map.
        fine: channels of the result.
        target: its height and width; the map's are half of it, rounded up.
        bias: whether it adds one.
    """

    def __init__(self, coarse: int, fine: int, target: Size, *, bias: bool) -> None:
        super().__init__(coarse, fine, CONV_KERNEL + 1, stride=2, padding=1, bias=bias)
        self.height, self.width = target

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Shape [B, coarse, ceil(H/2), ceil(W/2)] to [B, fine, H, W]."""
        return super().forward(x, output_size)[:, :, : self.height, : self.width]


class UpsampledConv(TransposedConv):
    """A 3x3 convolution of the doubled map; what is learnt is its 3x3 weight.

    Computed as the transposed convolution that it equals, it takes 4/9 of the multiplications and needs no large map in
    between.
    """

    def __init__(self, coarse: int, fine: int, target: Size, *, bias: bool) -> None:
        super().__init__(coarse, fine, target, bias=bias)
        register_parametrization(self, "weight", SumOfShifts())


class Generator(ConditionalGenerator):
    """Latents [B, Z] to samples [B, C, H, W] in (-1, 1).

    Args:
        task: the images' shape, the number of classes and the width of the codes.
    """

    def __init__(self, config: GeneratorConfig, task: Task) -> None:
        super().__init__()
        channels, *size = task.sample_shape
        full: Size = (size[0], size[1])
        direct = config.upsampling == "transposed"  # from half the resolution to the image
        automatic = automatic_widths(full)[int(direct) :][::-1]
        widths = automatic if config.widths == "auto" else config.widths
        sizes = halvings(full, len(widths) - 1 + int(direct))[::-1]
        bias = config.norm == "none"  # batch normalisation subtracts it anyway

        def finish(width: int) -> list[nn.Module]:
            norm = [nn.BatchNorm2d(width)] if config.norm == "batch" else []
            return [*norm, *passed_on(width)]

        def passed_on(width: int) -> list[nn.Module]:
            blocks = [
                ResidualBlock(width, _activation(config.activation), zero_start=True) for _ in range(config.depth)
            ]
            return [_activation(config.activation), *blocks]

        base = (widths[0], *sizes[0])
        flat = math.prod(base)
        self.begin(config, task, config.dense or flat, bias=bias)
        layers: list[nn.Module] = []
        if config.dense:
            layers += [nn.BatchNorm1d(config.dense)] if config.norm == "batch" else []
            layers += [_activation(config.activation), nn.Linear(config.dense, flat, bias=bias)]
            layers += [nn.BatchNorm1d(flat)] if config.norm == "batch" else []
            layers += [nn.Unflatten(1, base), *passed_on(widths[0])]
        else:
            layers += [nn.Unflatten(1, base), *finish(widths[0])]
        doubled = TransposedConv if direct else UpsampledConv
        for (coarse, fine), target in zip(pairwise(widths), sizes[1:], strict=False):
            layers += [doubled(coarse, fine, target, bias=bias), *finish(fine)]
        last = (
            TransposedConv(widths[-1], channels, full, bias=True)
            if direct
            else nn.Conv2d(widths[-1], channels, CONV_KERNEL, padding=1)
        )
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        _initialise(self, config.initial_weights, LEAKY_SLOPE)


class Discriminator(ImageDiscriminator):
    """Samples [B, C, H, W] to logits [B / m], each a function of its own samples.

    Args:
        task: the images' shape, the number of classes, m, and the width of the latents that belong to samples.
    """

    def __init__(self, config: DiscriminatorConfig, task: Task) -> None:
        super().__init__()
        channels, *size = task.sample_shape
        full: Size = (size[0], size[1])
        widths = automatic_widths(full)[1:] if config.widths == "auto" else config.widths
        sizes = halvings(full, len(widths))
        layers: list[nn.Module] = []
        for (before, width), (height, breadth) in zip(
            pairwise((channels * task.pack, *widths)), sizes[:-1], strict=True
        ):
            if height % 2 or breadth % 2:
                layers.append(nn.ZeroPad2d((0, breadth % 2, 0, height % 2)))
            normalised = config.norm == "batch" and len(layers) > 1  # never the first: colours are absolute
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1, bias=not normalised)]
            layers += [*([nn.BatchNorm2d(width)] if normalised else []), nn.LeakyReLU(config.leaky_slope)]
            layers += [
                ResidualBlock(width, nn.LeakyReLU(config.leaky_slope), zero_start=not config.spectral_norm)
                for _ in range(config.depth)
            ]
        flat = widths[-1] * sizes[-1][0] * sizes[-1][1]
        layers.append(nn.Flatten())
        if config.dense:
            layers.append(nn.Linear(flat, config.dense, bias=config.norm == "none"))
            layers += [nn.BatchNorm1d(config.dense)] if config.norm == "batch" else []
            layers.append(nn.LeakyReLU(config.leaky_slope))
        self.layers = nn.Sequential(*layers)
        self.conclude(task, config.dense or flat, config.leaky_slope)
        _initialise(self, config.initial_weights, config.leaky_slope)
        if config.spectral_norm:
            self.normalise_spectrally()


def _activation(name: str) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(LEAKY_SLOPE)


def _initialise(network: nn.Module, how: InitialWeights, leaky_slope: float) -> None:
    """Draw all weights; nothing rectifies the last layer's output.

    The last convolution of a residual branch starts at zero, so that a deep network starts as a shallow one. Classes
    start with unit length: their part of a logit is of its size, and of a map small.

    References:
        Zhang, Dauphin and Ma, Fixup (2019), section 3.
    """
    *rectified, last = [
        module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)
    ]
    for layer in rectified:
        weights.draw(layer, how, leaky_slope)
    weights.draw(last, how, None)
    for block in network.modules():
        if isinstance(block, ResidualBlock) and block.zero_start:
            nn.init.zeros_(block.last.weight)
    draw_classes(network)
