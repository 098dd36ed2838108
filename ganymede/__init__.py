"""Ganymede from Python: `publish` makes a served package of torch modules of your own.

    from ganymede import publish
    publish(generator, name="faces", latent=128)      # then: python -m service

It needs the `train` extra; importing this module does not. `__version__` is that of the service, which
`python -m service` starts; `python -m training` has the commands for training.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from service import __version__

if TYPE_CHECKING:
    from torch import nn

    from training.adopt import Adoption

__all__ = ["__version__", "publish"]


def publish(  # noqa: PLR0913 - one argument for each thing that a module does not say of itself
    generator: "nn.Module",
    *,
    name: str,
    latent: int | tuple[int, ...],
    labels: Sequence[str] | int | None = None,
    discriminator: "nn.Module | None" = None,
    encoder: "nn.Module | None" = None,
    data: str | Path | None = None,
    arguments: Mapping[str, object] | None = None,
    shape: tuple[int, ...] | None = None,
    layout: Literal["NCHW", "NHWC"] | None = None,
    value_range: tuple[float, float] | None = None,
    critic_range: tuple[float, float] | None = None,
    prior: Literal["standard_normal", "uniform"] = "standard_normal",
    critic_output: Literal["logit", "probability"] | None = None,
    loss: str | None = None,
    models: str | Path = "models",
    version: int | None = None,
    license: str | None = None,
    say: Callable[[str], None] = print,
) -> "Adoption":
    """Publish a GAN as `models/NAME/VERSION/`, which the service serves.

    The modules are exported to ONNX in evaluation mode, on the device that they are on, compared with their graphs, and
    adopted as `python -m training adopt` does it. Afterwards they are as they were.

    Args:
        generator: latents (and labels) to samples: images [B, C, H, W] or [B, H, W, C], or vectors [B, D].
        name: of the package: a-z, 0-9, - and _.
        latent: the number of coordinates Z, or the shape of one latent, such as (100, 1, 1).
        labels: names of the classes in the order of their integers, or how many there are. The generator takes them
            second, as integers [B] or one-hot [B, K].
        discriminator: samples (and labels) to one number each; without it, no scores.
        encoder: samples to latents.
        data: folder of real images that no network was trained on, to calibrate the discriminator with.
        arguments: further arguments of the generator by name, such as {"truncation_psi": 0.7}.
        shape: C, H, W of its images or D of its vectors, where its output is flat.
        layout: of its images, where their shape leaves it open.
        value_range: lowest and highest value of its images, where it cannot be seen from the last layer.
        critic_range: of the images that discriminator and encoder take; None is the generator's.
        prior: what latents are drawn from; uniform is U(-1, 1).
        critic_output: what the discriminator answers, where it cannot be seen.
        loss: that the discriminator was trained with, in the words of the package's format, such as hinge.
        models: folder of packages.
        version: of the package; None takes the next free one.
        license: of the weights: an SPDX identifier or a sentence.
        say: is told each decision, line by line.

    Returns:
        What was decided and why, and the package's folder.

    Raises:
        ImportError: if the `train` extra is not installed.
        training.errors.TrainingError: what cannot be served, and what to do, in one sentence; nothing is left behind.
    """
    try:
        from training.adopt import Options, torch_modules  # noqa: PLC0415 - importing this module needs no torch
    except ModuleNotFoundError as error:
        raise ImportError(
            f"publish needs {error.name}, which comes with Ganymede's train extra: pip install 'ganymede-gan[train]'"
        ) from error

    classes = tuple(map(str, range(labels))) if isinstance(labels, int) else tuple(labels or ())
    options = Options(
        name=name,
        models=Path(models),
        version=version,
        license=license,
        prior=prior,
        shape=shape,
        layout=layout,
        value_range=value_range,
        critic_range=critic_range,
        labels=classes or None,
        critic_output=critic_output,
        loss=loss,
        data=None if data is None else Path(data),
    )
    modules = torch_modules.Modules(
        generator=generator,
        latent=latent,
        classes=len(classes),
        discriminator=discriminator,
        encoder=encoder,
        arguments=arguments or {},
    )
    return torch_modules.publish(modules, options, say)
