"""From the words of a command line to `Sources` and `Options`, and from an `Adoption` to plain values."""

import argparse
import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from training.adopt.adoption import Adoption, Sources
from training.adopt.decisions import Interval, Options
from training.adopt.graph_files import GraphFile
from training.errors import ExportError
from training.networks.base import Prior

PRIORS: Final[Mapping[str, Prior]] = {"normal": "standard_normal", "uniform": "uniform"}


def read_sources(arguments: argparse.Namespace) -> Sources:
    """Read the files that were named.

    Raises:
        ExportError: if one cannot be read.
    """

    def read(path: Path | None) -> GraphFile | None:
        return None if path is None else GraphFile.read(path)

    return Sources(
        generator=GraphFile.read(arguments.generator),
        mapping=read(arguments.mapping),
        discriminator=read(arguments.discriminator),
        encoder=read(arguments.encoder),
    )


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


def as_plain(found: Adoption) -> dict[str, object]:
    """What was decided, as plain values for JSON."""
    return {
        "name": found.name,
        "version": found.version,
        "package": None if found.package is None else str(found.package),
        "decisions": [dataclasses.asdict(decision) for decision in found.decisions],
        "missing": list(found.missing),
    }


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
