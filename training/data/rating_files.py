"""Ratings from a pair of text files, one line a rating: user, item and stars, separated by tabs; numbers start at 0.

    STEM-train.txt   STEM-test.txt

A rating of four stars or more makes the item relevant to the user, as in IRGAN's experiments; lower ones are ignored.
The split of MovieLens-100k that IRGAN's authors published has this form, and is checked where the stem names it. Its
license forbids redistribution, so it is read from a user's copy: in the configured folder, else in
`$GANYMEDE_DATA_DIR/ml-100k`, else in `~/.cache/ganymede/ml-100k`.

References:
    Wang et al., IRGAN (2017), section 4.2. Harper and Konstan, The MovieLens Datasets: History and Context (2015).
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from training.data.interaction_data import InteractionData, Pairs, ValidationKeys, split_validation
from training.errors import DataError

MOVIELENS: Final = "movielens-100k"
SHA256: Final = {
    f"{MOVIELENS}-train.txt": "81fdf6f0b282e60c43e93ab9ae3f0627d026bf382a61f90c59154a1126d3afde",
    f"{MOVIELENS}-test.txt": "b5cc7d184c5b68f1dca4f1f53da3849acf4cd6ab65195b1d6bb59512cb402d17",
}
ATTRIBUTIONS: Final = {
    MOVIELENS: "MovieLens-100k, F. Maxwell Harper and Joseph A. Konstan, GroupLens; not to be redistributed",
}
RELEVANT_STARS: Final = 4
COLUMNS: Final = 3


@dataclass(frozen=True, kw_only=True)
class InteractionsConfig(ValidationKeys):
    """The `[data]` table of kind "interactions".

    Attributes:
        path: folder of the two files; empty for the standard places.
        stem: what their names begin with.
    """

    kind: ClassVar[str] = "interactions"
    path: str = ""
    stem: str = MOVIELENS


def folder(path: str = "") -> Path:
    """Folder of the files.

    Args:
        path: the configured folder, or empty.

    Returns:
        The configured folder, else `$GANYMEDE_DATA_DIR/ml-100k`, else `~/.cache/ganymede/ml-100k`.
    """
    if path:
        return Path(path).expanduser()
    root = os.environ.get("GANYMEDE_DATA_DIR")
    return (Path(root) if root else Path.home() / ".cache" / "ganymede") / "ml-100k"


def load(config: InteractionsConfig) -> InteractionData:
    """Read and check both files.

    Args:
        config: their folder, and what to set aside.

    Returns:
        The relevant pairs of both files; the numbers of users and items follow from the highest ids of any rating.

    Raises:
        DataError: if a file is missing, is no list of ratings, or has another content than its name says.
    """
    where = folder(config.path)
    contents = [_read(where / f"{config.stem}-{part}.txt") for part in ("train", "test")]
    train, test = (_ratings(content, where, config.stem) for content in contents)
    users, items = (int(max(train[:, column].max(), test[:, column].max())) + 1 for column in (0, 1))
    pairs, validation = split_validation(_relevant(train), config)
    return InteractionData(
        name=config.stem,
        pairs=pairs,
        validation=validation,
        test=_relevant(test),
        users=users,
        items=items,
        sha256=hashlib.sha256(b"".join(contents)).hexdigest(),
        attribution=ATTRIBUTIONS.get(config.stem, f"ratings of the file pair {config.stem}"),
    )


def _read(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(
            f"there is no {path}; put the file there, or name the folder that has it with --data-path"
        ) from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    found, expected = hashlib.sha256(content).hexdigest(), SHA256.get(path.name)
    if expected is not None and found != expected:
        raise DataError(f"{path} is not {path.name} as published: its SHA-256 is {found} and should be {expected}")
    return content


def _ratings(content: bytes, where: Path, stem: str) -> NDArray[np.float64]:
    """[N, 3]: user, item, stars."""
    try:
        rows = np.array([line.split() for line in content.decode().splitlines()], dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{where}/{stem}-*.txt: a line is not user, item and stars, parted by tabs: {error}") from error
    if rows.shape[1:] != (COLUMNS,) or (rows[:, :2] < 0).any():
        raise DataError(f"{where}/{stem}-*.txt: every line must be user, item and stars, parted by tabs")
    return rows


def _relevant(ratings: NDArray[np.float64]) -> Pairs:
    return ratings[ratings[:, 2] >= RELEVANT_STARS, :2].astype(np.int64)
