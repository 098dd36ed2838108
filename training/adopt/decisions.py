"""What was decided of a foreign graph, why, and which flag decides otherwise; and what a caller may state beforehand.

Shapes: Z latent coordinates, C H W channels, height and width, D numbers of a vector.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.export.graphs.interface import IMAGE_AXES
from training.networks.base import Prior

Layout = Literal["NCHW", "NHWC"]
CriticOutput = Literal["logit", "probability"]
Interval = tuple[float, float]
MODELS: Final = Path("models")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a caller states instead of leaving it to be found.

    Attributes:
        name: of the package.
        models: folder of packages.
        version: of the package; None takes the next free one.
        license: of the weights: an SPDX identifier or a sentence.
        latent: name of the generator's input that is the latent.
        latent_size: Z, where the graph leaves it open.
        prior: of the latents.
        output: name of the generator's output that is the sample.
        shape: C, H, W of an image or D of a vector, where the graph's output is flat.
        layout: of images, in the generator's output and in the inputs of the other graphs.
        value_range: lowest and highest value of the generator's images.
        critic_range: of the discriminator's and encoder's images; None is the generator's.
        labels: names of the classes in the order of their integers.
        bound: values of inputs by name, or "normal" for one draw of the standard normal distribution.
        freeze_noise: whether random operators become constants.
        critic_output: what the discriminator's output is.
        loss: which loss the discriminator was trained with, in the manifest's words.
        data: folder of real images, to calibrate the discriminator with.
        dry_run: whether nothing is written.
    """

    name: str
    models: Path = MODELS
    version: int | None = None
    license: str | None = None
    latent: str | None = None
    latent_size: int | None = None
    prior: Prior | None = None
    output: str | None = None
    shape: tuple[int, ...] | None = None
    layout: Layout | None = None
    value_range: Interval | None = None
    critic_range: Interval | None = None
    labels: tuple[str, ...] | None = None
    bound: Mapping[str, float | Literal["normal"]] = field(default_factory=dict)
    freeze_noise: bool = False
    critic_output: CriticOutput | None = None
    loss: str | None = None
    data: Path | None = None
    dry_run: bool = False


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        subject: what it is about, in a word or two.
        value: what was decided.
        reason: why.
        flag: what changes it; empty where nothing does.
    """

    subject: str
    value: str
    reason: str
    flag: str = ""

    def __str__(self) -> str:
        """One line, for people."""
        return f"{self.subject}: {self.value} ({self.reason})" + (f"; {self.flag} changes it" if self.flag else "")


@dataclass(frozen=True, kw_only=True)
class Layouts:
    """How a graph's images are laid out.

    Attributes:
        sample_shape: C, H, W of an image, D of a vector.
        axes: of the graph's tensor behind the batch.
        layout: of an image, flat ones included.
    """

    sample_shape: tuple[int, ...]
    axes: tuple[int, ...]
    layout: Layout = "NCHW"

    @property
    def is_image(self) -> bool:
        """Whether samples are images."""
        return len(self.sample_shape) == IMAGE_AXES

    def arranged(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Samples [N, ...] of the graph as the package has them, [N, C, H, W] or [N, D]."""
        if self.is_image and self.layout == "NHWC":
            channels, *sides = self.sample_shape
            return np.ascontiguousarray(values.reshape(-1, *sides, channels).transpose(0, 3, 1, 2))
        return values.reshape(-1, *self.sample_shape)
