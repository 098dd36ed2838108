"""E(x), the encoder: samples to latents.

    convolutional   x -> [4x4 convolution of stride 2, norm, leaky ReLU] ... -> linear -> z
    mlp             x -> flattened -> [linear, norm, leaky ReLU] ... -> linear -> z

The convolutional one uses the sizes of `training.networks.dcgan`'s discriminator. Batch normalisation is allowed,
because its statistics are estimated again when a package is made.

Shapes: B batch, Z latent, C H W channels, height and width, D numbers of a sample, F features.

References:
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), section 4 and appendix B.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal

from torch import Tensor, nn

from training.networks import weights
from training.networks.base import Task
from training.networks.dcgan import LEAKY_SLOPE, Size, Widths, automatic_widths, halvings
from training.tables import Range

BIGAN_WIDTH: Final = 1024  # of both hidden layers of the authors' permutation-invariant encoder


@dataclass(frozen=True, kw_only=True)
class ConvolutionalConfig:
    """The `[encoder]` table of kind "convolutional", for images.

    Attributes:
        widths: channels after each halving, from fine to coarse; "auto" as for the discriminator.
        norm: batch normalisation after every convolution but the first, or none.
    """

    kind: ClassVar[str] = "convolutional"

    widths: Widths = "auto"
    norm: Literal["batch", "none"] = "batch"


@dataclass(frozen=True, kw_only=True)
class PerceptronConfig:
    """The `[encoder]` table of kind "mlp", for samples of any shape, taken as a list of numbers.

    Attributes:
        widths: of the hidden layers.
        norm: batch normalisation after every hidden layer but the first, or none.
    """

    kind: ClassVar[str] = "mlp"

    widths: tuple[Annotated[int, Range(at_least=1)], ...] = (BIGAN_WIDTH, BIGAN_WIDTH)
    norm: Literal["batch", "none"] = "batch"


EncoderConfig = ConvolutionalConfig | PerceptronConfig
KINDS: Final[dict[str, type[EncoderConfig]]] = {kind.kind: kind for kind in (ConvolutionalConfig, PerceptronConfig)}


class Encoder(nn.Module):
    """Samples [B, ...] to latents [B, Z].

    Args:
        task: the samples' shape.
        latent_size: Z.
    """

    def __init__(self, config: EncoderConfig, task: Task, latent_size: int) -> None:
        super().__init__()
        if isinstance(config, ConvolutionalConfig):
            layers, feature_size = _convolutions(config, task)
        else:
            layers, feature_size = _perceptron(config, task)
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(feature_size, latent_size)
        _initialise(self)

    def features(self, samples: Tensor) -> Tensor:
        """Compute the input of the last layer.

        Args:
            samples: [B, ...].

        Returns:
            [B, F].
        """
        seen: Tensor = self.layers(samples)
        return seen

    def forward(self, samples: Tensor) -> Tensor:
        """Find the latent of each sample.

        Args:
            samples: [B, ...].

        Returns:
            [B, Z], unbounded for every prior.
        """
        latents: Tensor = self.last(self.features(samples))
        return latents


def _convolutions(config: ConvolutionalConfig, task: Task) -> tuple[list[nn.Module], int]:
    channels, *size = task.sample_shape
    full: Size = (size[0], size[1])
    widths = automatic_widths(full)[1:] if config.widths == "auto" else config.widths
    sizes = halvings(full, len(widths))
    layers: list[nn.Module] = []
    for place, (before, width) in enumerate(pairwise((channels, *widths))):
        height, breadth = sizes[place]
        if height % 2 or breadth % 2:
            layers.append(nn.ZeroPad2d((0, breadth % 2, 0, height % 2)))
        layers.append(nn.Conv2d(before, width, 4, stride=2, padding=1))
        if config.norm == "batch" and place > 0:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.LeakyReLU(LEAKY_SLOPE))
    return [*layers, nn.Flatten()], widths[-1] * sizes[-1][0] * sizes[-1][1]


def _perceptron(config: PerceptronConfig, task: Task) -> tuple[list[nn.Module], int]:
    layers: list[nn.Module] = [nn.Flatten()]
    for place, (before, width) in enumerate(pairwise((math.prod(task.sample_shape), *config.widths))):
        layers.append(nn.Linear(before, width))
        if config.norm == "batch" and place > 0:
            layers.append(nn.BatchNorm1d(width))
        layers.append(nn.LeakyReLU(LEAKY_SLOPE))
    return layers, config.widths[-1]


def _initialise(encoder: Encoder) -> None:
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weights.draw(module, "he", None if module is encoder.last else LEAKY_SLOPE)
