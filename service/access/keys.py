"""Keys: what callers identify themselves with, and the file in which an operator lists them.

    [keys.alice]                    # the name, as it is in logs and metrics
    sha256 = "6f1e…"                # of the key, which the file does not hold
    role = "admin"                  # may load and unload models, too; "inference" when left out
    samples_per_second = 100        # no limit when left out
    burst = 1000                    # samples at once; ten seconds' worth when left out
    weight = 2                      # share of a busy graph; 1 when left out

A key is 256 random bits. That is why a plain SHA-256 of it may lie in a file, without salt and without a slow hash:
those protect what people choose, and no search finds 256 random bits.

References:
    RFC 6750, Bearer Token Usage (2012): §2.1.
    NIST SP 800-132 (2010), section 5: salts and iterations are for passwords.
"""

import hashlib
import json
import re
import secrets
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hmac import compare_digest
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

Role = Literal["inference", "admin"]

# Marks a key for programs that look for secrets in files and logs.
PREFIX: Final = "ganymede_"
KEY_BYTES: Final = 32
# What is shorter holds no 128 random bits in any notation; what is longer is not worth hashing.
SHORTEST_KEY: Final = 32
LONGEST_KEY: Final = 256
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
NAME_WORDS: Final = "a name has 1 to 32 letters, digits, `_` and `-`, and begins with a letter or digit"
# Labels of metrics, beside names: of keys beyond the most that have series of their own.
RESERVED: Final = frozenset({"other"})
# Each is compared with what a request presents, on the event loop.
MOST_KEYS: Final = 1_000
# Several times what so many entries take.
MOST_BYTES: Final = 1024 * 1024
BURST_S: Final = 10.0


class KeysRefused(Exception):
    """A file of keys cannot be used; the message says why, to its operator."""


@dataclass(frozen=True, slots=True)
class Key:
    """What an operator grants one caller.

    Attributes:
        name: in logs and metrics.
        digest: SHA-256 of the key.
        role: `admin` may load and unload models, too.
        samples_per_second: over time; None is no limit.
        burst: samples at once; 0 where there is no limit.
        weight: share of a busy graph, against the weights of the others that wait for it.
    """

    name: str
    digest: bytes
    role: Role = "inference"
    samples_per_second: float | None = None
    burst: int = 0
    weight: float = 1.0


class Entry(BaseModel):
    """A key as the file describes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    role: Role = "inference"
    samples_per_second: Annotated[float, Field(ge=0.01, le=1e6, allow_inf_nan=False)] | None = None
    burst: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    weight: Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)] = 1.0

    @field_validator("burst")
    @classmethod
    def _burst_has_its_rate(cls, burst: int | None, known: ValidationInfo) -> int | None:
        if burst is not None and known.data.get("samples_per_second") is None:
            raise ValueError("limits nothing without samples_per_second")
        return burst

    def key(self, name: str) -> Key:
        """The key of this entry."""
        burst = self.burst
        if burst is None:
            burst = 0 if self.samples_per_second is None else max(1, round(BURST_S * self.samples_per_second))
        return Key(name, bytes.fromhex(self.sha256), self.role, self.samples_per_second, burst, self.weight)

    def lines(self, name: str) -> str:
        """The entry as it stands in a file; what is left out has its default."""
        fields = self.model_dump(exclude_defaults=True, exclude_none=True) | {"sha256": self.sha256, "role": self.role}
        return f"[keys.{name}]\n" + "".join(f"{field} = {json.dumps(value)}\n" for field, value in fields.items())


class Keys:
    """The keys that callers may have.

    Args:
        keys: of different names and digests.
    """

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self.by_name: Mapping[str, Key] = {key.name: key for key in keys}
        self._digests = tuple((key.digest, key) for key in self.by_name.values())

    def __len__(self) -> int:
        return len(self._digests)

    def find(self, presented: str) -> Key | None:
        """The key that a caller presents; None where there is no such key.

        All digests are compared, each in constant time, so that the time says nothing of which one came close. (To look
        the digest up in a dictionary would be safe as well: a caller cannot choose the bits of a SHA-256, and a digest
        that is known in part leads to no key. A comparison of keys themselves would not be.)
        """
        digest = hashlib.sha256(presented.encode()).digest()
        found = None
        for known, key in self._digests:
            if compare_digest(known, digest):
                found = key
        return found


def read_keys(content: bytes) -> Keys:
    """Read the content of a file of keys.

    Raises:
        KeysRefused: it is not such a file, or lists no key.
    """
    if len(content) > MOST_BYTES:
        raise KeysRefused(f"it has more than {MOST_BYTES} bytes")
    try:
        found = tomllib.loads(content.decode())
    except UnicodeDecodeError:
        raise KeysRefused("it is not UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise KeysRefused(f"it is not TOML: {str(error)[:200]}") from None
    except RecursionError:
        raise KeysRefused("it is nested too deeply") from None
    tables = found.pop("keys", None)
    if found or not isinstance(tables, dict) or not tables:
        raise KeysRefused("it lists each key as a table [keys.NAME], at least one, and nothing else")
    if len(tables) > MOST_KEYS:
        raise KeysRefused(f"it lists more than {MOST_KEYS} keys")
    keys = [_read_entry(name, table).key(name) for name, table in tables.items()]
    names: dict[bytes, str] = {}
    for key in keys:
        if key.digest in names:
            raise KeysRefused(f"{names[key.digest]} and {key.name} are one key")
        names[key.digest] = key.name
    return Keys(keys)


def check_name(name: str) -> None:
    """Pass a name that a key may have.

    Raises:
        KeysRefused: it may not.
    """
    if not NAME.fullmatch(name):
        raise KeysRefused(NAME_WORDS)
    if name in RESERVED:
        raise KeysRefused(f"no key is called {name}, which metrics call the keys without series of their own")


def new_key() -> str:
    """Make a key: 256 random bits in 43 characters, behind the prefix."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: str) -> str:
    """SHA-256 of a key, in hexadecimal digits."""
    return hashlib.sha256(key.encode()).hexdigest()


def _read_entry(name: str, table: object) -> Entry:
    try:
        check_name(name)
        return Entry.model_validate(table, strict=True)
    except KeysRefused as refused:
        raise KeysRefused(f"[keys.{name[:64]!r}]: {refused}") from None
    except ValidationError as error:
        # The value may be a key that was written where its hash belongs.
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise KeysRefused(f"[keys.{name}] {place}: {first['msg'].removeprefix('Value error, ')}") from None
