"""A fully connected pair: for vectors, and for images whose order of pixels should not matter.

    generator      z -> [linear, norm, activation] ... -> linear            -> x, through tanh where x is an image
    discriminator  x [, sin 2^k x, cos 2^k x] -> [linear, activation] ... -> features -> linear -> logit

Without hidden layers the generator is affine and the discriminator linear: the smallest players, whose games have
closed solutions. Nothing in the discriminator mixes the samples of a batch, so a score depends on its own sample only.
Sines and cosines of its input resolve detail that is fine compared with the data's range, which a plain network learns
last.

Classes, codes and latents that belong to samples enter as in the convolutional pair, except that a sample and its
latent are joined at the input.

Shapes: B batch, Z latent, D numbers of a vector, C H W of an image, K classes or codes, F features, m samples a logit.

References:
    Goodfellow et al., Generative Adversarial Nets (2014), section 5: players of this kind, with maxout critics.
    Goodfellow et al., Maxout Networks (2013).
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), section 4.1 and appendix A: judging pairs.
    Tancik et al., Fourier Features Let Networks Learn High Frequency Functions in Low Dimensional Domains (2020),
    section 6: sines and cosines of octaves.
"""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from training.networks.base import DiscriminatorKeys, GeneratorKeys, Task, packed
from training.networks.conditioning import ConditionalGenerator, ProjectionDiscriminator, draw_classes
from training.tables import Range

LEAKY_SLOPE: Final = 0.2  # DCGAN's
MAXOUT_PIECES: Final = 5  # of Goodfellow et al. (2014) and of PacGAN's critic

Widths = tuple[()] | tuple[Annotated[int, Range(at_least=1)], ...]
Activation = Literal["relu", "leaky_relu", "tanh", "maxout"]

# What keeps a signal's scale: 1 / root mean square of the activation of a standard normal number (the largest of five,
# for maxout; 5/3 is torch's for tanh).
GAINS: Final[dict[Activation, float]] = {
    "relu": math.sqrt(2),
    "leaky_relu": math.sqrt(2 / (1 + LEAKY_SLOPE**2)),
    "tanh": 5 / 3,
    "maxout": 0.745,
}


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(GeneratorKeys):
    """The `[generator]` table of kind "mlp".

    Attributes:
        widths: of the hidden layers; none make the generator affine.
        norm: batch normalisation of every hidden layer, or none.
        activation: of the hidden layers.
    """

    kind: ClassVar[str] = "mlp"

    widths: Widths
    norm: Literal["batch", "none"] = "none"
    activation: Literal["relu", "leaky_relu", "tanh"] = "relu"


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(DiscriminatorKeys):
    """The `[discriminator]` table of kind "mlp".

    Attributes:
        widths: of the hidden layers; none make the logit a linear function of the sample.
        activation: of the hidden layers; "maxout" takes the largest of five linear pieces for each unit.
        fourier_octaves: n; each number is accompanied by its sine and cosine at the angular frequencies 1, 2, 4, ...
            2^(n - 1), of which the highest should turn by about a radian over the finest detail of the data.
        spectral_norm: divide every weight by its largest singular value.
    """

    kind: ClassVar[str] = "mlp"

    widths: Widths
    activation: Activation = "leaky_relu"
    fourier_octaves: Annotated[int, Range(at_least=0, at_most=16)] = 0
    spectral_norm: bool = False


class Maxout(nn.Module):
    """The largest of every five neighbouring numbers."""

    def forward(self, pieces: Tensor) -> Tensor:
        """Shape [B, 5 F] to [B, F]."""
        return pieces.reshape(-1, pieces.shape[1] // MAXOUT_PIECES, MAXOUT_PIECES).amax(2)


class FourierFeatures(nn.Module):
    """Numbers, and their sines and cosines at frequencies an octave apart.

    Args:
        octaves: n.
    """

    frequencies: Tensor

    def __init__(self, octaves: int) -> None:
        super().__init__()
        self.register_buffer("frequencies", 2.0 ** torch.arange(octaves), persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Shape [B, D] to [B, (1 + 2 n) D]."""
        angles = (numbers.unsqueeze(2) * self.frequencies).flatten(1)
        return torch.cat([numbers, angles.sin(), angles.cos()], dim=1)


class Generator(ConditionalGenerator):
    """Latents [B, Z] to vectors [B, D], or to images [B, C, H, W] in (-1, 1).

    Args:
        task: the samples' shape, the number of classes and the width of the codes.
    """

    def __init__(self, config: GeneratorConfig, task: Task) -> None:
        super().__init__()
        widths = (*config.widths, math.prod(task.sample_shape))
        self.begin(config, task, widths[0])
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [nn.BatchNorm1d(width)] if config.norm == "batch" else []
            layers += [_activation(config.activation), nn.Linear(width, following)]
        if len(task.sample_shape) > 1:
            layers += [nn.Unflatten(1, task.sample_shape), nn.Tanh()]
        self.layers = nn.Sequential(*layers)
        _initialise(self, config.activation)


class Discriminator(ProjectionDiscriminator):
    """Samples [B, ...] to logits [B / m], each a function of its own samples.

    Args:
        task: the samples' shape, the number of classes, m, and the width of the latents that belong to samples.
    """

    def __init__(self, config: DiscriminatorConfig, task: Task) -> None:
        super().__init__()
        self.pack = task.pack
        pieces = MAXOUT_PIECES if config.activation == "maxout" else 1
        numbers = task.pack * (math.prod(task.sample_shape) + task.joint_size)
        sizes = (numbers * (1 + 2 * config.fourier_octaves), *config.widths)
        layers: list[nn.Module] = [FourierFeatures(config.fourier_octaves)] if config.fourier_octaves else []
        for size, width in pairwise(sizes):
            layers += [nn.Linear(size, width * pieces), _activation(config.activation)]
        self.layers = nn.Sequential(*layers)
        self.feature_size = sizes[-1]
        self.classes = nn.Embedding(task.classes, self.feature_size) if task.classes else None
        self.last = nn.Linear(self.feature_size, 1)
        _initialise(self, config.activation)
        if config.spectral_norm:
            self.normalise_spectrally()

    def features(self, samples: Tensor, *latents: Tensor) -> Tensor:
        """Compute the features of each pack of samples.

        Args:
            samples: [B, ...].
            latents: [B, Z] where pairs are judged.

        Returns:
            [B / m, F].
        """
        given = torch.cat([packed(part.flatten(1), self.pack) for part in (samples, *latents)], dim=1)
        seen: Tensor = self.layers(given)
        return seen

    def forward(self, samples: Tensor, *conditions: Tensor) -> Tensor:
        """Judge each pack of samples.

        Args:
            samples: [B, ...].
            conditions: latents [B, Z] where pairs are judged, then labels [B] if there are classes.

        Returns:
            Logits [B / m]; positive means "rather real" for objectives that fix the scale.
        """
        given = list(conditions)
        labels = given.pop() if self.classes is not None else None
        return self.verdict_for(self.features(samples, *given), labels)


def _activation(name: Activation) -> nn.Module:
    match name:
        case "relu":
            return nn.ReLU()
        case "leaky_relu":
            return nn.LeakyReLU(LEAKY_SLOPE)
        case "tanh":
            return nn.Tanh()
        case "maxout":
            return Maxout()


def _initialise(network: nn.Module, activation: Activation) -> None:
    """Normal weights of variance gain^2/fan-in, which keep the signal's scale; biases at zero, classes of unit length.

    References:
        He et al., Delving Deep into Rectifiers (2015), equation 14.
    """
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    for layer in linear:
        gain = GAINS[activation] if layer is not linear[-1] else 1.0  # nothing rectifies the output
        nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.in_features))
        nn.init.zeros_(layer.bias)
    draw_classes(network)
