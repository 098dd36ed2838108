"""R3GAN's pair: grouped bottleneck blocks, Fixup's initial weights, bilinear resampling, no normalisation.

    generator      z -> linear -> times a learnt map -> [blocks] -> [1x1, up x2 -> [blocks]] ... -> 1x1 -> x
    discriminator  x -> 1x1 -> [[blocks] -> down x2, 1x1] ... -> [blocks] -> one window over the map -> linear -> logit
    block          x + 1x1(act(3x3 in groups(act(1x1(x)))))

Both use the same list of sizes, each half of the one before rounded up, so odd and oblong images need no padding. A
block's last convolution starts at zero, so that a network of any depth starts as its skip connections, which keep the
signal's variance; there is nothing else to keep it, so no sample's score depends on its batch. Nothing squashes the
generator's output: values beyond the data's range are clipped where bytes are made.

In half precision the coarsest stage and the layers at the latents and at the logit stay in single precision, as the
authors' do. Classes enter as for every other kind (`training.networks.conditioning`): an embedding is added before the
learnt map, where the authors concatenate one with the latents, and the logit has an unconditional part beside the
projection.

Shapes: B batch, Z latent, C H W channels, height and width, F features, m samples that one logit judges together.

References:
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024), section 4 and configuration E; widths, groups and
    gains are those of the authors' code.
    Zhang, Dauphin and Ma, Fixup Initialization (2019), section 3.
    Xie et al., Aggregated Residual Transformations (ResNeXt, 2017), section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, interpolate

from training.errors import ConfigError
from training.networks import weights
from training.networks.base import DiscriminatorKeys, GeneratorKeys, Task
from training.networks.conditioning import ConditionalGenerator, ImageDiscriminator, draw_classes
from training.networks.dcgan import LEAKY_SLOPE, Size, Width, Widths, halvings
from training.tables import Range

COARSEST_PIXELS: Final = 4  # where "auto" stops halving: the authors' learnt map is 4x4
WIDEST_SIZES: Final = 4  # of the coarsest sizes of "auto": 4 to 32 pixels have all channels, each doubling beyond half
LINEAR_LAYERS: Final = 3  # of a block
TENT: Final = (1.0, 3.0, 3.0, 1.0)  # linear interpolation halfway between two pixels, over both


@dataclass(frozen=True, kw_only=True)
class StageKeys:
    """The keys that both tables of kind "r3gan" share.

    Attributes:
        widths: channels at each size; of the generator from the coarsest to full resolution, of the discriminator from
            full resolution to the coarsest. "auto" halves the image until it is at most 4 pixels; the four coarsest
            sizes have `widest` channels, and each finer one half of those before.
        widest: channels of "auto"; the authors' 768 is for a GPU, and 64 learns small images on a CPU.
        blocks: residual blocks at each size.
        expansion: channels inside a block, as a multiple of those outside.
        group_width: channels in a group of a block's 3x3 convolution; the authors' 96 groups of 1,536 channels.
    """

    widths: Widths = "auto"
    widest: Width = 768
    blocks: Annotated[int, Range(at_least=1)] = 2
    expansion: Annotated[int, Range(at_least=1)] = 2
    group_width: Width = 16


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(StageKeys, GeneratorKeys):
    """The `[generator]` table of kind "r3gan"."""

    kind: ClassVar[str] = "r3gan"


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(StageKeys, DiscriminatorKeys):
    """The `[discriminator]` table of kind "r3gan"."""

    kind: ClassVar[str] = "r3gan"


def automatic_widths(size: Size, widest: int) -> tuple[int, ...]:
    """Channels for "auto", from the coarsest map to full resolution."""
    stages = 0
    while max(halvings(size, stages)[-1]) > COARSEST_PIXELS:
        stages += 1
    return tuple(max(widest >> max(0, stage + 1 - WIDEST_SIZES), 1) for stage in range(stages + 1))


class Block(nn.Module):
    """x + 1x1(act(3x3 in groups(act(1x1(x))))), the identity at first.

    Args:
        config: its expansion and the width of its groups.
        gain: of the first two convolutions.

    Raises:
        ConfigError: if the channels do not divide into groups.
    """

    def __init__(self, width: int, config: StageKeys, gain: float) -> None:
        super().__init__()
        inside = width * config.expansion
        if inside % config.group_width:
            raise ConfigError(
                f'kind = "r3gan": {width} channels times expansion {config.expansion} do not divide into groups of '
                f"group_width {config.group_width}; change widths or group_width"
            )
        first = nn.Conv2d(width, inside, 1)
        second = nn.Conv2d(inside, inside, 3, padding=1, groups=inside // config.group_width)
        last = nn.Conv2d(inside, width, 1, bias=False)
        for layer in (first, second):
            weights.draw(layer, "he", LEAKY_SLOPE)
            with torch.no_grad():
                layer.weight.mul_(gain)
        nn.init.zeros_(last.weight)
        self.branch = nn.Sequential(first, nn.LeakyReLU(LEAKY_SLOPE), second, nn.LeakyReLU(LEAKY_SLOPE), last)

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, H, W] to the same."""
        branch: Tensor = self.branch(x)
        return x + branch


class _Resampling(nn.Module):
    """Keeps a map's channels apart; the filter is one for all of them."""

    kernel: Tensor

    def __init__(self, channels: int, target: Size, total: float) -> None:
        super().__init__()
        taps = torch.tensor(TENT)
        kernel = taps[:, None] * taps
        self.register_buffer("kernel", (total * kernel / kernel.sum()).repeat(channels, 1, 1, 1), persistent=False)
        self.channels = channels
        self.height, self.width = target


class Up(_Resampling):
    """Doubles a map by bilinear interpolation between zeros outside; cropped where the target is odd.

    Args:
        channels: of the map.
        target: its height and width afterwards.
    """

    def __init__(self, channels: int, target: Size) -> None:
        super().__init__(channels, target, total=4)
        self.zeros = nn.ZeroPad2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, ceil(H/2), ceil(W/2)] to [B, C, H, W]."""
        if torch.compiler.is_exporting():  # an interpolation, which runtimes compute faster, and on a GPU in one order
            doubled = interpolate(self.zeros(x), scale_factor=2.0, mode="bilinear")[:, :, 2:, 2:]
        else:
            doubled = conv_transpose2d(x, self.kernel, stride=2, padding=1, groups=self.channels)
        return doubled[:, :, : self.height, : self.width]


class Down(_Resampling):
    """Halves a map by the same filter, rounding up.

    Args:
        channels: of the map.
        source: its height and width before.
    """

    def __init__(self, channels: int, source: Size) -> None:
        super().__init__(channels, source, total=1)
        self.even = nn.ZeroPad2d((0, source[1] % 2, 0, source[0] % 2))

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C, H, W] to [B, C, ceil(H/2), ceil(W/2)]."""
        return conv2d(self.even(x), self.kernel, stride=2, padding=1, groups=self.channels)


def _in_single_precision(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Compute a function outside autocast; without autocast it is called as it is, which an exporter can follow."""
    if not torch.is_autocast_enabled(x.device.type):
        return function(x)
    with torch.autocast(x.device.type, enabled=False):
        return function(x.float())


class SingleLinear(nn.Linear):
    """A linear layer in single precision."""

    def forward(self, input: Tensor) -> Tensor:
        """Shape [B, ...] to [B, ...]."""
        return _in_single_precision(super().forward, input)


class SingleStage(nn.Sequential):
    """Layers in single precision."""

    def forward(self, input: Tensor) -> Tensor:
        """As its layers."""
        return _in_single_precision(super().forward, input)


class LearntMap(nn.Module):
    """A learnt map for each channel, scaled by that channel's number."""

    def __init__(self, channels: int, size: Size) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(channels, *size))

    def forward(self, x: Tensor) -> Tensor:
        """Shape [B, C] to [B, C, H, W]."""
        return x[:, :, None, None] * self.basis


def _plain(layer: nn.Conv2d | nn.Linear) -> nn.Module:
    """A layer without a rectifier behind it, with weights that keep the variance."""
    weights.draw(layer, "he", None)
    return layer


def _plain_linear(before: int, after: int, *, bias: bool) -> SingleLinear:
    layer = SingleLinear(before, after, bias=bias)
    weights.draw(layer, "he", None)
    return layer


class Stages:
    """The sizes of one player, and what it has at each.

    Args:
        given: channels from the coarsest map to full resolution, or "auto".
        size: of the images.
    """

    def __init__(self, config: StageKeys, given: Widths, size: Size) -> None:
        self.widths = automatic_widths(size, config.widest) if given == "auto" else given
        self.sizes = halvings(size, len(self.widths) - 1)[::-1]
        self._config = config
        self._gain = (config.blocks * len(self.widths)) ** (-1 / (2 * LINEAR_LAYERS - 2))

    def blocks(self, width: int) -> list[nn.Module]:
        """The blocks at one size.

        References:
            Zhang, Dauphin and Ma (2019), section 3: L^(-1/(2m - 2)) for L blocks of m layers.
        """
        return [Block(width, self._config, self._gain) for _ in range(self._config.blocks)]


class Generator(ConditionalGenerator):
    """Latents [B, Z] to samples [B, C, H, W], about in (-1, 1).

    Args:
        task: the images' shape, the number of classes and the width of the codes.

    Raises:
        ConfigError: if channels do not divide into groups.
    """

    def __init__(self, config: GeneratorConfig, task: Task) -> None:
        super().__init__()
        channels, *size = task.sample_shape
        stages = Stages(config, config.widths, (size[0], size[1]))
        coarsest = stages.widths[0]
        self.begin(config, task, coarsest, linear=_plain_linear, bias=False)
        layers: list[nn.Module] = [SingleStage(LearntMap(coarsest, stages.sizes[0]), *stages.blocks(coarsest))]
        for (before, width), target in zip(pairwise(stages.widths), stages.sizes[1:], strict=True):
            layers += [_plain(nn.Conv2d(before, width, 1, bias=False))] if before != width else []
            layers += [Up(width, target), *stages.blocks(width)]
        layers.append(_plain(nn.Conv2d(stages.widths[-1], channels, 1, bias=False)))
        self.layers = nn.Sequential(*layers)
        draw_classes(self)


class Discriminator(ImageDiscriminator):
    """Samples [B, C, H, W] to logits [B / m], each a function of its own samples.

    Args:
        task: the images' shape, the number of classes, m, and the width of the latents that belong to samples.

    Raises:
        ConfigError: if channels do not divide into groups.
    """

    def __init__(self, config: DiscriminatorConfig, task: Task) -> None:
        super().__init__()
        channels, *size = task.sample_shape
        coarse_to_fine: Widths = "auto" if config.widths == "auto" else config.widths[::-1]
        stages = Stages(config, coarse_to_fine, (size[0], size[1]))
        widths, sizes = stages.widths[::-1], stages.sizes[::-1]
        layers: list[nn.Module] = [_plain(nn.Conv2d(channels * task.pack, widths[0], 1, bias=False))]
        for (width, after), source in zip(pairwise(widths), sizes, strict=False):
            layers += [*stages.blocks(width), Down(width, source)]
            layers += [_plain(nn.Conv2d(width, after, 1, bias=False))] if width != after else []
        coarsest = widths[-1]
        window = _plain(nn.Conv2d(coarsest, coarsest, sizes[-1], groups=coarsest, bias=False))
        layers.append(SingleStage(*stages.blocks(coarsest), window, nn.Flatten()))
        self.layers = nn.Sequential(*layers)
        self.conclude(task, coarsest, LEAKY_SLOPE, linear=SingleLinear, bias=False)
        if self.joint is not None:
            weights.draw(cast("nn.Linear", self.joint[0]), "he", LEAKY_SLOPE)
        _plain(self.last)
        draw_classes(self)
