"""Limits of the package format, checked before a run starts and again before its export.

The numbers are those of `models/manifest.schema.json`; a test compares them.
"""

import math
from typing import Final

from training.config import Config
from training.data import Data, FolderConfig
from training.data.image_data import FEWEST_HELD_OUT
from training.errors import ExportError
from training.export.graphs.interface import Interface, interface

MARGIN = 1.15  # of a suggested share over the smallest sufficient one, since names decide which images are held out
SHARE_STEP = 0.05  # to which a suggested share is rounded up
LARGEST_SHARE = 0.5  # that is suggested
IMAGE_CHANNELS: Final = (1, 3)
LARGEST_SIDE = 8_192  # pixels
LARGEST_VECTOR = 1_048_576
MOST_REFERENCE_ROWS = 4_096
MOST_REFERENCE_NUMBERS = 1_048_576
LARGEST_COUNT = 2**31 - 1  # of items, and of ids
LARGEST_LATENT = 65_536
FEWEST_LABELS, MOST_LABELS = 2, 65_536
LONGEST_LABEL = 100  # characters
MOST_CODES = 64  # of each kind
MOST_CATEGORIES = 65_536
LONGEST_LICENSE = 200  # characters


def check(config: Config, data: Data) -> None:
    """Refuse a run whose networks or data no package could hold.

    Raises:
        ExportError: with all reasons.
    """
    problems = [*_too_few(config, data), *_misfits(interface(config, data))]
    if problems:
        raise ExportError(f"no package could hold this run: {'; '.join(problems)}")


def check_license(text: str | None) -> None:
    """Refuse a license text that is too long for the format.

    Raises:
        ExportError: if it is too long.
    """
    if text is not None and len(text) > LONGEST_LICENSE:
        raise ExportError(f"the license has {len(text)} characters; a package has room for {LONGEST_LICENSE}")


def _too_few(config: Config, data: Data) -> list[str]:
    held_out, samples = len(data.held_out), len(data.held_out) + len(data.train)
    if held_out >= FEWEST_HELD_OUT:
        return []
    problem = f"{data.name} holds out {held_out} of {samples} samples, and to calibrate takes {FEWEST_HELD_OUT} or more"
    if isinstance(config.data, FolderConfig):
        share = math.ceil(MARGIN * FEWEST_HELD_OUT / samples / SHARE_STEP) * SHARE_STEP
        share = max(share, config.data.held_out_fraction + SHARE_STEP)  # the present share is not enough
        problem += (
            f" (set [data] held_out_fraction = {share:.2f}, or put more images into the folders held out)"
            if share <= LARGEST_SHARE
            else f" ({math.ceil(MARGIN * FEWEST_HELD_OUT / LARGEST_SHARE)} images would do)"
        )
    return [problem]


def _misfits(face: Interface) -> list[str]:
    """List the tensors' sizes that do not fit the format."""
    problems = []
    if face.kind == "image":
        channels, height, width = face.sample_shape
        if channels not in IMAGE_CHANNELS:
            problems.append(f"its images have {channels} channels, and a package's are grey (1) or colour (3)")
        if max(height, width) > LARGEST_SIDE:
            problems.append(f"its images are {width}x{height}, and a package's have {LARGEST_SIDE:,} pixels a side")
    elif face.kind == "vector" and face.sample_shape[0] > LARGEST_VECTOR:
        problems.append(f"its vectors have {face.sample_shape[0]:,} numbers, and a package's {LARGEST_VECTOR:,}")
    elif max(face.items, face.conditions) > LARGEST_COUNT:
        problems.append(f"it has more than {LARGEST_COUNT:,} items or users")
    if face.latent_size > LARGEST_LATENT:
        problems.append(
            f"[generator] latent_size is {face.latent_size:,}, and a package's is {LARGEST_LATENT:,} at most"
        )
    return problems + unfit_labels(face.labels) + _unfit_codes(face)


def unfit_labels(names: tuple[str, ...]) -> list[str]:
    """What no package could hold of the names of classes, as sentences without an end; none for no classes."""
    problems = []
    if len(names) == 1:
        problems.append(f"it has one class, and a package {FEWEST_LABELS} at least")
    long = [name for name in names if len(name) > LONGEST_LABEL]
    if long:
        problems.append(
            f"{len(long)} of its classes have names of more than {LONGEST_LABEL} characters, such as {long[0]}"
        )
    if "" in names or len(set(names)) < len(names):
        problems.append("its classes do not all have names of their own")
    if len(names) > MOST_LABELS:
        problems.append(f"it has {len(names):,} classes, and a package {MOST_LABELS:,} at most")
    return problems


def _unfit_codes(face: Interface) -> list[str]:
    if face.codes is None:
        return []
    problems = []
    if max(len(face.codes.categorical), len(face.codes.continuous)) > MOST_CODES:
        problems.append(f"it has more than {MOST_CODES} codes of a kind")
    if max(face.codes.sizes, default=0) > MOST_CATEGORIES:
        problems.append(f"one of its codes has more than {MOST_CATEGORIES:,} categories")
    return problems
