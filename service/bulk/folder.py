"""The folder of a bulk run: what is finished, and how a file comes to be there at once or not at all.

    plan.json                  the plan, written first
    shard-000012.npy           a finished shard, complete by being there
    records/000012.json        its seeds, size and SHA-256, written just before it
    index.jsonl                all records, once every shard is there; then `records` is removed
    .shard-000012.npy.part     a shard that a process writes and holds a lock on, or that a killed one has left

A process that is killed leaves at most files of the last kind, which the next one to draw the shard writes over.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from service.bulk.plan import PLAN, BulkRefused, Plan, Shard

INDEX: Final = "index.jsonl"
RECORDS: Final = "records"


class Record(BaseModel):
    """What the index says of a shard: a line of it.

    Attributes:
        first_seed: of its samples, and so `last_seed`.
        size: of the file, in bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    shard: int
    file: str
    first_seed: int
    last_seed: int
    count: int
    size: int
    sha256: str

    def line(self) -> bytes:
        """The line."""
        return (json.dumps(self.model_dump()) + "\n").encode()

    def is_of(self, shard: Shard) -> bool:
        """Whether it is about a shard of this plan."""
        last_seed = shard.first_seed + shard.count - 1
        stated = self.shard, self.file, self.first_seed, self.last_seed, self.count
        return stated == (shard.number, shard.file, shard.first_seed, last_seed, shard.count)


class ShardFile:
    """A shard that is being written."""

    def __init__(self, file: BinaryIO, shard: Shard) -> None:
        self._file, self._shard = file, shard
        self._hash, self._size = hashlib.sha256(), 0

    def write(self, piece: bytes) -> None:
        """Append a piece."""
        self._file.write(piece)
        self._hash.update(piece)
        self._size += len(piece)

    def record(self) -> Record:
        """What has been written, once it is all."""
        shard = self._shard
        return Record(
            shard=shard.number,
            file=shard.file,
            first_seed=shard.first_seed,
            last_seed=shard.first_seed + shard.count - 1,
            count=shard.count,
            size=self._size,
            sha256=self._hash.hexdigest(),
        )


class BulkFolder:
    """The folder of a run, which several processes may share."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._indexed: dict[int, Record] = {}

    def read_plan(self) -> Plan | None:
        """The plan of the run; None where the folder is empty, or there is none.

        Raises:
            BulkRefused: the plan cannot be read, or other files lie there without one.
        """
        place = self.path / PLAN
        try:
            return Plan.model_validate_json(place.read_bytes())
        except FileNotFoundError:
            pass
        except ValidationError as error:
            raise BulkRefused(f"{place} is no plan that this version reads; name another folder") from error
        with suppress(FileNotFoundError):
            if any(not each.name.startswith(".") for each in self.path.iterdir()):
                raise BulkRefused(f"{self.path} has files and no {PLAN}; name a new folder, or an empty one")
        return None

    def claim(self, plan: Plan) -> None:
        """Write the plan, where there is none.

        Raises:
            BulkRefused: there is another one; the message names what differs.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        place = self.path / PLAN
        with _replacing(place) as file:
            there = self.read_plan()
            if there is None:
                file.write(plan.text())
                _commit(file, place)
        if there is not None and (differences := there.differences(plan)):
            raise BulkRefused(f"{self.path} has another plan: {'; '.join(differences)}; name another folder")

    def finished(self, shard: Shard) -> Record | None:
        """The record of a shard that is there with the size that it should have, else None."""
        try:
            size = (self.path / shard.file).stat().st_size
        except FileNotFoundError:
            return None
        record = self.record(shard)
        return record if record is not None and record.size == size else None

    def record(self, shard: Shard) -> Record | None:
        """What is known of a shard, whether it is there or not."""
        if shard.number not in self._indexed:
            try:
                record = Record.model_validate_json(self._record(shard).read_bytes())
                self._indexed[shard.number] = record
            except (FileNotFoundError, ValidationError):
                self._indexed |= self._read_index()
        found = self._indexed.get(shard.number)
        return found if found is not None and found.is_of(shard) else None

    @contextmanager
    def writing(self, shard: Shard) -> Iterator[ShardFile | None]:
        """Write a shard: it is there once the block ends well, and nothing of it is if the block raises.

        Yields:
            The file, or None where another process writes it or it is finished.

        Raises:
            BulkRefused: it was drawn before with other bytes.
        """
        with ExitStack() as stack:
            try:
                file = stack.enter_context(_replacing(self.path / shard.file, wait=False))
            except BlockingIOError:
                yield None
                return
            if self.finished(shard) is not None:
                yield None
                return
            writing = ShardFile(file, shard)
            yield writing
            self._finish(file, shard, writing.record())

    def _finish(self, file: BinaryIO, shard: Shard, record: Record) -> None:
        """The record first: a shard that is there has one."""
        known = self.record(shard)
        if known is not None and known != record:
            raise BulkRefused(
                f"{shard.file} has SHA-256 {record.sha256}, and was drawn before with {known.sha256}; remove {INDEX} "
                "if it was damaged, else draw into another folder, since this machine does not reproduce the samples"
            )
        place = self._record(shard)
        place.parent.mkdir(exist_ok=True)
        with _replacing(place) as written:
            written.write(record.line())
            _commit(written, place)
        self._indexed[shard.number] = record
        _commit(file, self.path / shard.file)

    def complete(self, plan: Plan) -> bool:
        """Write the index, where every shard of the plan is there; returns whether it is."""
        lines = bytearray()
        for shard in plan.shards():
            record = self.finished(shard)
            if record is None:
                return False
            lines += record.line()
        place = self.path / INDEX
        with _replacing(place) as file:
            file.write(lines)
            _commit(file, place)
        with suppress(FileNotFoundError):
            for each in (self.path / RECORDS).iterdir():
                each.unlink(missing_ok=True)
            (self.path / RECORDS).rmdir()
        return True

    def _record(self, shard: Shard) -> Path:
        return self.path / RECORDS / f"{shard.number:06}.json"

    def _read_index(self) -> dict[int, Record]:
        """The records of the index by number, without lines that are damaged."""
        records: dict[int, Record] = {}
        with suppress(FileNotFoundError):
            for line in (self.path / INDEX).read_bytes().splitlines():
                with suppress(ValidationError):
                    record = Record.model_validate_json(line)
                    records[record.shard] = record
        return records


@contextmanager
def _replacing(path: Path, *, wait: bool = True) -> Iterator[BinaryIO]:
    """Open the temporary sibling of a file, empty and locked; it is removed unless it is committed.

    The lock ends with the process. What was locked may have been committed or removed meanwhile, and then is opened
    anew: to write to it would change the finished file.

    Args:
        wait: for another process that holds it.

    Raises:
        BlockingIOError: another process holds it, and `wait` is not set.
    """
    temporary = path.with_name(f".{path.name}.part")
    while True:
        file = os.fdopen(os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "wb")
        with file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if not _is_still(temporary, file):
                continue
            try:
                file.truncate(0)
                yield file
            finally:
                if _is_still(temporary, file):
                    temporary.unlink()
            return


def _is_still(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _commit(file: BinaryIO, path: Path) -> None:
    """Have a temporary file be the file, on the disk and then by name."""
    file.flush()
    os.fsync(file.fileno())
    path.with_name(f".{path.name}.part").rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)
