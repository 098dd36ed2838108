"""A convolutional pair for small images of any size from 4 pixels up and any number of channels.

    generator      z -> linear -> coarsest map -> [nearest x2, crop, 3x3 convolution, norm, activation] ... -> tanh
    discriminator  x -> [4x4 convolution of stride 2, leaky ReLU] ... -> linear -> logit

Both walk the same list of sizes, each the half of the one before rounded up, so odd and oblong images need no padding
of the data. The generator resizes and convolves instead of transposing a convolution: no checkerboard, and every
inference runtime has fast kernels for both. The discriminator has no layer that mixes the samples of a batch, so the
score of an image is its own. `depth` adds residual blocks at every size.

Shapes: B batch, Z latent, C H W channels, height and width.

References:
    Radford, Metz and Chintala, Unsupervised Representation Learning with DCGAN (2016).
    Odena, Dumoulin and Olah, Deconvolution and Checkerboard Artifacts (2016).
    Miyato et al., Spectral Normalization for GANs (2018).
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.nn.utils.parametrizations import spectral_norm

from training.tables import Range

LEAKY_SLOPE = 0.2  # DCGAN's
COARSEST_PIXELS = 7  # where "auto" stops halving: one 4x4 window still sees more than half of such a map
FINEST_WIDTH = 32  # of "auto", at full resolution
WIDEST = 256  # of "auto", however often it halves

Size = tuple[int, int]
Width = Annotated[int, Range(at_least=1)]
Widths = tuple[Width, ...] | Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """The `[generator]` table.

    Attributes:
        latent_size: Z; the prior is standard normal.
        widths: channels from the coarsest map to full resolution, one for each size; "auto" halves the image until
            it is at most 7 pixels and doubles the channels with each halving, from 32 to at most 256.
        depth: residual blocks at each size.
        norm: batch normalisation as in DCGAN, or none.
        activation: DCGAN's ReLU, or a leaky one.
    """

    latent_size: Annotated[int, Range(at_least=1)] = 64
    widths: Widths = "auto"
    depth: Annotated[int, Range(at_least=0)] = 0
    norm: Literal["batch", "none"] = "batch"
    activation: Literal["relu", "leaky_relu"] = "relu"


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """The `[discriminator]` table.

    Attributes:
        widths: channels after each halving, from fine to coarse; "auto" halves the image until it is at most 7
            pixels, with 64 channels after the first and twice as many after each further one, at most 256.
        depth: residual blocks after each halving.
        spectral_norm: divide every weight by its largest singular value.
    """

    widths: Widths = "auto"
    depth: Annotated[int, Range(at_least=0)] = 0
    spectral_norm: bool = False


def halvings(size: Size, stages: int) -> list[Size]:
    """The sizes an image takes, from full resolution down.

    Args:
        size: height and width.
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

    Args:
        size: height and width of the image.

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


class Upsampling(nn.Module):
    """Nearest-neighbour doubling, cropped where the target is odd."""

    def __init__(self, target: Size) -> None:
        super().__init__()
        self.height, self.width = target

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, ceil(H/2), ceil(W/2)] to [B, C, H, W]."""
        return interpolate(x, scale_factor=2, mode="nearest")[:, :, : self.height, : self.width]


class Generator(nn.Module):
    """Latents [B, Z] to samples [B, C, H, W] in (-1, 1).

    Args:
        config: the `[generator]` table.
        image_shape: C, H, W of the data.
    """

    def __init__(self, config: GeneratorConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *size = image_shape
        full: Size = (size[0], size[1])
        widths = automatic_widths(full)[::-1] if config.widths == "auto" else config.widths
        sizes = halvings(full, len(widths) - 1)[::-1]
        bias = config.norm == "none"  # batch normalisation subtracts it anyway

        def finish(width: int) -> list[nn.Module]:
            norm = [nn.BatchNorm2d(width)] if config.norm == "batch" else []
            blocks = [
                ResidualBlock(width, _activation(config.activation), zero_start=True) for _ in range(config.depth)
            ]
            return [*norm, _activation(config.activation), *blocks]

        self.latent_size = config.latent_size
        self.image_shape = image_shape
        base = (widths[0], *sizes[0])
        layers: list[nn.Module] = [
            nn.Linear(config.latent_size, base[0] * base[1] * base[2], bias=bias),
            nn.Unflatten(1, base),
            *finish(widths[0]),
        ]
        for (coarse, fine), target in zip(pairwise(widths), sizes[1:], strict=True):
            layers += [Upsampling(target), nn.Conv2d(coarse, fine, 3, padding=1, bias=bias), *finish(fine)]
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], channels, 3, padding=1), nn.Tanh())
        _initialise(self)

    def forward(self, latents: Tensor) -> Tensor:
        """Generate one sample for each latent.

        Args:
            latents: [B, Z].

        Returns:
            [B, C, H, W] in (-1, 1).
        """
        samples: Tensor = self.layers(latents)
        return samples


class Discriminator(nn.Module):
    """Samples [B, C, H, W] to logits [B], each a function of its own sample.

    Args:
        config: the `[discriminator]` table.
        image_shape: C, H, W of the data.
    """

    def __init__(self, config: DiscriminatorConfig, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *size = image_shape
        full: Size = (size[0], size[1])
        widths = automatic_widths(full)[1:] if config.widths == "auto" else config.widths
        sizes = halvings(full, len(widths))
        self.image_shape = image_shape
        layers: list[nn.Module] = []
        for (before, width), (height, breadth) in zip(pairwise((channels, *widths)), sizes[:-1], strict=True):
            if height % 2 or breadth % 2:
                layers.append(nn.ZeroPad2d((0, breadth % 2, 0, height % 2)))
            layers += [nn.Conv2d(before, width, 4, stride=2, padding=1), nn.LeakyReLU(LEAKY_SLOPE)]
            layers += [
                ResidualBlock(width, nn.LeakyReLU(LEAKY_SLOPE), zero_start=not config.spectral_norm)
                for _ in range(config.depth)
            ]
        flat = widths[-1] * sizes[-1][0] * sizes[-1][1]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 1))
        _initialise(self)
        if config.spectral_norm:
            for module in list(self.modules()):
                if isinstance(module, nn.Conv2d | nn.Linear):
                    spectral_norm(module)

    def forward(self, samples: Tensor) -> Tensor:
        """Judge each sample.

        Args:
            samples: [B, C, H, W].

        Returns:
            Logits [B]; positive means "rather real" for objectives that fix the scale.
        """
        logits: Tensor = self.layers(samples)
        return logits.squeeze(1)


def _activation(name: str) -> nn.Module:
    return nn.ReLU() if name == "relu" else nn.LeakyReLU(LEAKY_SLOPE)


def _initialise(network: nn.Module) -> None:
    """Normal weights of variance gain^2/fan-in, which keep the signal's scale through rectifiers; biases at zero.

    The last convolution of a residual branch starts at zero, so that a deep network starts as a shallow one.

    References:
        He et al., Delving Deep into Rectifiers (2015), equation 14. Zhang, Dauphin and Ma, Fixup (2019), section 3.
    """
    weighted = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for module in weighted[:-1]:
        nn.init.kaiming_normal_(module.weight, a=LEAKY_SLOPE)
    nn.init.kaiming_normal_(weighted[-1].weight, nonlinearity="linear")  # nothing rectifies the output
    for module in weighted:
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    for block in network.modules():
        if isinstance(block, ResidualBlock) and block.zero_start:
            nn.init.zeros_(block.last.weight)


def parameter_count(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
