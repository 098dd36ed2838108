"""What was decided of a foreign graph, why, and which flag decides otherwise; and what a caller may state beforehand.

Shapes: Z latent coordinates, C H W channels, height and width, D numbers of a vector.
"""

import argparse
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from training.errors import ExportError
from training.export.graphs.interface import IMAGE_AXES
from training.networks.base import Prior

Layout = Literal["NCHW", "NHWC"]
CriticOutput = Literal["logit", "probability"]
Interval = tuple[float, float]
MODELS: Final = Path("models")
PRIORS: Final[Mapping[str, Prior]] = {"normal": "standard_normal", "uniform": "uniform"}


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
        checked: whether the service checks the package before it is published, which takes seconds.
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
    checked: bool = True


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
class Adoption:
    """What became of foreign graphs.

    Attributes:
        decisions: what was decided, in order.
        missing: what the package cannot do and what would change that, as sentences.
        package: its folder; None after a dry run.
    """

    name: str
    version: int
    decisions: tuple[Decision, ...]
    missing: tuple[str, ...]
    package: Path | None


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


def read_options(arguments: argparse.Namespace) -> Options:
    """Read what was stated.

    Raises:
        ExportError: which flag has a value that cannot be used, and what it may hold.
    """
    return Options(
        name=arguments.name,
        models=arguments.models,
        version=arguments.version,
        license=arguments.license,
        latent=arguments.latent,
        latent_size=arguments.latent_size,
        prior=None if arguments.prior is None else PRIORS[arguments.prior],
        output=arguments.output,
        shape=_shape(arguments.shape),
        layout=arguments.layout,
        value_range=_range("--range", arguments.range),
        critic_range=_range("--critic-range", arguments.critic_range),
        labels=_labels(arguments.labels),
        bound=dict(map(_bound, arguments.set)),
        freeze_noise=arguments.freeze_noise,
        critic_output=arguments.critic_output,
        loss=arguments.loss,
        data=arguments.data,
        dry_run=arguments.dry_run,
    )


def _shape(words: str | None) -> tuple[int, ...] | None:
    if words is None:
        return None
    try:
        sizes = tuple(int(word) for word in words.split(","))
    except ValueError:
        sizes = ()
    if len(sizes) not in {1, 3} or min(sizes) < 1:
        raise ExportError(f"--shape {words} is neither C,H,W as in 3,64,64 nor D as in 2")
    return sizes


def _range(flag: str, ends: list[float] | None) -> Interval | None:
    if ends is None:
        return None
    low, high = ends
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ExportError(f"{flag} {low:g} {high:g} is no LOW below a HIGH, as -1 1, 0 1 or 0 255")
    return low, high


def _labels(words: str | None) -> tuple[str, ...] | None:
    if words is None:
        return None
    if words.isdecimal():
        names: tuple[str, ...] = tuple(map(str, range(int(words))))
    elif "," in words:
        names = tuple(word.strip() for word in words.split(","))
    else:
        try:
            lines = Path(words).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ExportError(
                f"--labels {words} is no file of names that can be read, no a,b,c and no number"
            ) from error
        names = tuple(line.strip() for line in lines if line.strip())
    if not names:
        raise ExportError(f"--labels {words} names no class")
    return names


def _bound(words: str) -> tuple[str, float | Literal["normal"]]:
    name, equals, value = words.rpartition("=")
    if value == "normal" and equals:
        return name, "normal"
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not equals or not math.isfinite(number):
        raise ExportError(f"--set {words} is not NAME=NUMBER or NAME=normal")
    return name, number
