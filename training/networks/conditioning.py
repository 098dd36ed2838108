"""How classes and codes enter the generator and the discriminator, the same for convolutional and connected networks.

    generator       z, codes -> first layer, + class -> ...
    discriminator   ... -> features -> last(features) + <class, features>

Shapes: B batch, Z latent, K width of the codes, m samples that one logit judges together, F features.

References:
    Miyato and Koyama, cGANs with Projection Discriminator (2018), equation 3.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from training.networks.base import GeneratorKeys, Task, packed

JOINT_WIDTH = 256  # of the hidden layer over an image's features and its latent


class ConditionalGenerator(nn.Module):
    """Base of generators of images and vectors.

    Attributes:
        latent_size: Z.
        sample_shape: C, H, W of an image, D of a vector.
        first: latents and codes [B, Z + K] to the input of `layers`.
        classes: what is added there for each class; None where there are none.
        layers: from there to samples [B, ...].
    """

    latent_size: int
    sample_shape: tuple[int, ...]
    first: nn.Linear
    classes: nn.Embedding | None
    layers: nn.Sequential

    def begin(
        self,
        config: GeneratorKeys,
        task: Task,
        width: int,
        *,
        linear: Callable[..., nn.Linear] = nn.Linear,
        bias: bool = True,
    ) -> None:
        """Make what comes before `layers`.

        Args:
            width: numbers of a sample that `layers` are given.
            linear: makes the first layer.
            bias: whether the first layer adds one.
        """
        self.latent_size = config.latent_size
        self.sample_shape = task.sample_shape
        self.first = linear(config.latent_size + task.code_size, width, bias=bias)
        self.classes = nn.Embedding(task.classes, width) if task.classes else None

    def forward(self, latents: Tensor, *conditions: Tensor) -> Tensor:
        """Generate one sample for each latent.

        Args:
            latents: [B, Z].
            conditions: labels [B] if there are classes, then codes [B, K] if there are such.

        Returns:
            [B, ...]; images in (-1, 1).
        """
        given = list(conditions)
        labels = given.pop(0) if self.classes is not None else None
        start = self.first(torch.cat([latents, *given], dim=1) if given else latents)
        if self.classes is not None:
            start = start + self.classes(labels)
        samples: Tensor = self.layers(start)
        return samples


class ProjectionDiscriminator(nn.Module):
    """Base of discriminators: what follows the features.

    Attributes:
        last: features [B / m, F] to one number.
        classes: a direction [F] for each class; None where there are none.
    """

    last: nn.Linear
    classes: nn.Embedding | None

    def verdict(self, seen: Tensor) -> Tensor:
        """Compute logits without classes.

        Args:
            seen: [B / m, F].

        Returns:
            Logits [B / m].
        """
        logits: Tensor = self.last(seen).squeeze(1)
        return logits

    def verdict_for(self, seen: Tensor, labels: Tensor | None) -> Tensor:
        """Compute logits for classes.

        Args:
            seen: [B / m, F].
            labels: [B / m]; not used where there are no classes.

        Returns:
            Logits [B / m].
        """
        logits = self.verdict(seen)
        return logits if self.classes is None else logits + (self.classes(labels) * seen).sum(1)

    def normalise_spectrally(self) -> None:
        """Divide every weight by its largest singular value, from now on."""
        for module in list(self.modules()):
            if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
                spectral_norm(module)


class ImageDiscriminator(ProjectionDiscriminator):
    """Base of discriminators of images, of packs of them, and of pairs of an image and a latent.

    Attributes:
        pack: m.
        layers: images [B / m, m C, H, W] to features [B / m, F].
        feature_size: F.
        joint: features and latents [B / m, F + m Z] to what is judged; None where images are judged alone.
    """

    pack: int
    layers: nn.Sequential
    feature_size: int
    joint: nn.Sequential | None

    def conclude(
        self,
        task: Task,
        feature_size: int,
        leaky_slope: float,
        *,
        linear: type[nn.Linear] = nn.Linear,
        bias: bool = True,
    ) -> None:
        """Make what follows the features.

        Args:
            feature_size: F.
            leaky_slope: of the hidden layer over pairs.
            linear: the type of the last layer.
            bias: whether the last layer adds one.
        """
        self.pack, self.feature_size, judged = task.pack, feature_size, feature_size
        self.joint = None
        if task.joint_size:
            hidden = nn.Linear(feature_size + task.joint_size * task.pack, JOINT_WIDTH)
            self.joint, judged = nn.Sequential(hidden, nn.LeakyReLU(leaky_slope)), JOINT_WIDTH
        self.classes = nn.Embedding(task.classes, judged) if task.classes else None
        self.last = linear(judged, 1, bias=bias)

    def features(self, samples: Tensor) -> Tensor:
        """Compute the features of each pack of samples.

        Args:
            samples: [B, C, H, W].

        Returns:
            [B / m, F].
        """
        seen: Tensor = self.layers(packed(samples, self.pack))
        return seen

    def forward(self, samples: Tensor, *conditions: Tensor) -> Tensor:
        """Judge each pack of samples.

        Args:
            samples: [B, C, H, W].
            conditions: latents [B, Z] where pairs are judged, then labels [B] if there are classes.

        Returns:
            Logits [B / m]; positive means "rather real" for objectives that fix the scale.
        """
        given, seen = list(conditions), self.features(samples)
        if self.joint is not None:
            seen = self.joint(torch.cat([seen, packed(given.pop(0), self.pack)], dim=1))
        return self.verdict_for(seen, given.pop(0) if self.classes is not None else None)


def draw_classes(network: nn.Module) -> None:
    """Draw the embeddings of classes with unit length, in place."""
    for embedding in network.modules():
        if isinstance(embedding, nn.Embedding):
            nn.init.normal_(embedding.weight, std=embedding.embedding_dim**-0.5)
