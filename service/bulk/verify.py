"""Checks a bulk run's files against its index: what is missing, cut off, changed, or not of the run."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from service.bulk.folder import INDEX, BulkFolder
from service.bulk.plan import Part, Plan, Shard

PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be.

    Attributes:
        file: name in the folder.
        problem: what is wrong with it, in words.
        redo: whether it is a shard that must be removed before it is drawn again.
    """

    file: str
    problem: str
    redo: bool = False

    def as_document(self) -> dict[str, object]:
        """For programs."""
        return asdict(self)


def verify(folder: BulkFolder, plan: Plan, part: Part, checked: Callable[[int], object] = id) -> Iterator[Finding]:
    """Check the shards of a part, and, of a whole run, that there is an index and nothing else.

    Args:
        checked: told of how many more samples were checked.

    Raises:
        OSError: a file cannot be read.
    """
    for shard in plan.shards(part):
        finding = _check(folder, shard)
        if finding is not None:
            yield finding
        checked(shard.count)
    if part.of > 1:
        return
    try:
        lines = (folder.path / INDEX).read_bytes()
    except FileNotFoundError:
        yield Finding(INDEX, "is missing; it is written when every shard is there")
    else:
        records = [folder.record(shard) for shard in plan.shards()]
        if lines != b"".join(record.line() for record in records if record is not None):
            yield Finding(INDEX, "is not the list of this plan's shards; `--repair` writes it again")
    known = {shard.file for shard in plan.shards()}
    for found in sorted(each.name for each in folder.path.glob("shard-*")):
        if found not in known:
            yield Finding(found, "is no shard of this plan")


def _check(folder: BulkFolder, shard: Shard) -> Finding | None:
    place = folder.path / shard.file
    seeds = f"seeds {shard.first_seed} to {shard.first_seed + shard.count - 1}"
    try:
        size = place.stat().st_size
    except FileNotFoundError:
        return Finding(shard.file, f"is missing ({seeds})")
    record = folder.record(shard)
    if record is None:
        return Finding(shard.file, f"is in no index, so that its bytes cannot be checked ({seeds})", redo=True)
    if size != record.size:
        return Finding(shard.file, f"has {size:,} bytes, not {record.size:,} ({seeds})", redo=True)
    if _sha256(place) != record.sha256:
        return Finding(shard.file, f"has other bytes than were written: its SHA-256 differs ({seeds})", redo=True)
    return None


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE_BYTES):
            found.update(piece)
    return found.hexdigest()
