"""The plan of a bulk run: what is drawn, and into which shards. It is written first, and every process agrees with it.

seeds first … first + n − 1  ──▶  shard k has the s seeds from first + k·s on  ──▶  part I of N has k ≡ I − 1 (mod N)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from service.api.limits import MAX_SEED
from service.api.sample_types import DtypeName

ShardFormat = Literal["npy", "tar"]

PLAN: Final = "plan.json"
DEFAULT_SHARD_SIZE: Final = 10_000
# Each has an entry in one folder and in the index, which is read as a whole.
MAX_SHARDS: Final = 1_000_000
MAX_PARTS: Final = 10_000
_PART: Final = re.compile(r"([0-9]{1,5})/([0-9]{1,5})", re.ASCII)


class BulkRefused(Exception):
    """A bulk run cannot go on as it is; the message is one sentence that says what to change."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of the run.

    Attributes:
        number: k, from 0.
        first_seed: of its samples, which have consecutive ones.
        count: of samples, at least 1.
        file: its name in the folder.
    """

    number: int
    first_seed: int
    count: int
    file: str


@dataclass(frozen=True, slots=True)
class Part:
    """Share of the shards that one of several processes draws.

    Attributes:
        index: I, from 1.
        of: N.
    """

    index: int = 1
    of: int = 1

    @classmethod
    def read(cls, text: str) -> "Part":
        """Read `I/N`.

        Raises:
            ValueError: it is something else.
        """
        found = _PART.fullmatch(text)
        index, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= of <= MAX_PARTS:
            raise ValueError(f'"{text}" is no part; the second of four is 2/4')
        return cls(index, of)


class Plan(BaseModel):
    """What a run draws, in a file beside the shards.

    Two runs with equal plans write equal bytes: package and stack stand for all that a sample depends on beside its
    seed and its parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    schema_version: Literal[1] = 1
    model: str
    version: int
    package_sha256: str
    stack: str
    request: dict[str, JsonValue]
    first_seed: int = Field(ge=0, le=MAX_SEED)
    n: int = Field(ge=1, le=MAX_SEED)
    shard_size: int = Field(ge=1, le=MAX_SEED)
    format: ShardFormat
    dtype: DtypeName | None

    @property
    def shard_count(self) -> int:
        """Number of shards."""
        return -(-self.n // self.shard_size)

    def check(self) -> None:
        """Refuse seeds that there are not, and more files than a folder should hold.

        Raises:
            BulkRefused: with the option to change.
        """
        if self.first_seed + self.n - 1 > MAX_SEED:
            raise BulkRefused(f"--seed + {self.n - 1} would pass {MAX_SEED}, the last seed; begin lower or draw fewer")
        if self.shard_count > MAX_SHARDS:
            least = -(-self.n // MAX_SHARDS)
            raise BulkRefused(f"this would be {self.shard_count:,} shards; choose --shard-size {least:,} or more")

    def shard(self, number: int) -> Shard:
        """The shard of a number."""
        start = number * self.shard_size
        file = f"shard-{number:06}.{self.format}"
        return Shard(number, self.first_seed + start, min(self.shard_size, self.n - start), file)

    def shards(self, part: Part = Part()) -> Iterator[Shard]:
        """The shards of a part, in order."""
        return map(self.shard, range(part.index - 1, self.shard_count, part.of))

    def text(self) -> bytes:
        """The file, which is the same wherever it is written."""
        return (self.model_dump_json(indent=2) + "\n").encode()

    def differences(self, asked: "Plan") -> list[str]:
        """Name what another plan has otherwise, in words."""
        own, other = self.model_dump(mode="json"), asked.model_dump(mode="json")
        return [f"{name} is {own[name]!r} there and {other[name]!r} here" for name in own if own[name] != other[name]]
