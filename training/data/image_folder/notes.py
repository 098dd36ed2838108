"""Words for how images were read, and for why they cannot be."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from training.data.image_data import Labels
from training.data.image_folder.image_files import GREY, Background, Header, Step, TargetFormat
from training.data.image_folder.listing import MOST_NAMED, Listing, named, shown
from training.data.image_folder.split import Split
from training.errors import DataError

CACHE: Final = "cache: "  # begins the note that names a folder of this machine


def refusal(where: str, listing: Listing, unreadable: Mapping[str, str]) -> DataError:
    """Word the refusal of images.

    Args:
        unreadable: why images cannot be read, by name; empty where there are no images.
    """
    if not unreadable:
        return DataError(f"{where} has no images; {listing.formats}")
    told = [f"{shown(name)} {reason}" for name, reason in sorted(unreadable.items())[:MOST_NAMED]]
    rest = f", and {len(unreadable) - MOST_NAMED:,} more" if len(unreadable) > MOST_NAMED else ""
    return DataError(
        f"{where}: {len(unreadable):,} of {len(listing.names):,} images cannot be taken: {', '.join(told)}{rest}"
    )


def formats(listing: Listing) -> str:
    """Say how many images of each suffix there are."""
    counts = Counter(Path(name).suffix.lower() for name in listing.names)
    return f"images: {', '.join(f'{count:,} {suffix}' for suffix, count in counts.most_common())}"


def classes(split: Split, names: tuple[str, ...] | None, labels: Labels | None) -> str:
    """Say which classes there are, or could be."""
    if names is not None and labels is not None:
        counts = np.bincount(labels, minlength=len(names))
        return f"classes: {named([f'{name} {count:,}' for name, count in zip(names, counts, strict=True)])}"
    folders = Counter(name.split("/", 1)[0] for name in split.below if "/" in name)
    if len(folders) > 1 and folders.total() == len(split.below):
        found = named([f"{name} {count:,}" for name, count in sorted(folders.items())])
        return f'classes: none; [data] labels = "folders" would take the folders for classes: {found}'
    return "classes: none"


def steps(counts: Mapping[Step, int], brightest: int, background: Background) -> Iterator[str]:
    """Say how many images were converted how."""
    for step in Step:
        if counts.get(step):
            more = {
                Step.DEEP: f" (the brightest value is {brightest:,} of 65,535)",
                Step.TRANSPARENT: f' ([data] background = "{background}")',
            }.get(step, "")
            yield f"converted: {counts[step]:,} {step}{more}"


def sizes(headers: Sequence[Header], wanted: TargetFormat) -> str:
    """Say which size all images have, and how many had another one."""
    height, width = wanted.size
    told = f"size: {size(wanted.size)}, {'grey' if wanted.channels == GREY else 'colour'}"
    changed = [header.size for header in headers if header.size != wanted.size]
    if not changed:
        return f"{told}, as they are"
    smaller = sum(each[0] < height or each[1] < width for each in changed)
    smallest, largest = min(changed, key=math.prod), max(changed, key=math.prod)
    return (
        f"{told}; {len(changed):,} of {size(smallest)} to {size(largest)} are scaled until they cover it and cropped "
        "at the centre" + (f"; {smaller:,} of them are smaller and are enlarged" if smaller else "")
    )


def size(height_and_width: tuple[int, int]) -> str:
    """Word a size as width x height."""
    height, width = height_and_width
    return f"{width}x{height}"
