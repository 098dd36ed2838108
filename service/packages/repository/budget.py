"""The memory budget: what packages take, which of them make room for another, and how often they may take turns.

Pure: the time is an argument.

    expected size ──▶ room left? ──▶ load                                MemoryBudget
                          └──▶ least recently used that are idle go      victims
                                     └──▶ a share of the time only       TurnAllowance
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from service.engine.model_spec import PackageKey
from service.memory import in_mebibytes

# What others free while a package is loaded hides a part of what it takes; the most of so many loads hides less.
LOADS_KEPT: Final = 5
# Packages that take turns in memory keep a core busy with loading for a tenth of the time at most,
TURNS_SHARE: Final = 0.1
# beyond what a person causes who looks at one package after the other.
TURNS_AT_ONCE_S: Final = 15.0


class MemoryBudget:
    """What each package takes by the measurements so far, against what all may take.

    Args:
        limit_bytes: that all packages may take together; 0 is no limit.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._measured: dict[PackageKey, deque[int]] = {}

    def record(self, key: PackageKey, memory_bytes: int) -> int:
        """Record by how much the process grew with a package; returns what it takes, by all of its loads."""
        self._measured.setdefault(key, deque(maxlen=LOADS_KEPT)).append(memory_bytes)
        return max(self._measured[key])

    def measured(self, key: PackageKey) -> int | None:
        """What a package takes; None where it was never loaded."""
        return max(self._measured[key]) if key in self._measured else None

    def forget(self, key: PackageKey) -> None:
        """Forget a package, whose folder is gone."""
        self._measured.pop(key, None)

    def refusal(self, memory_bytes: int, stays: Iterable["Loaded"]) -> str | None:
        """Why a package cannot be loaded whatever makes room for it; None where it can.

        Args:
            memory_bytes: that it takes.
            stays: packages that are never unloaded.
        """
        pinned = list(stays)
        left = self.limit_bytes - sum(each.memory_bytes for each in pinned)
        if memory_bytes <= left:
            return None
        named = ", ".join(str(each.key) for each in pinned) or "nothing"
        return (
            f"it takes {in_mebibytes(memory_bytes)} of memory, and GANYMEDE_MEMORY_BUDGET leaves "
            f"{in_mebibytes(max(0, left))} of {in_mebibytes(self.limit_bytes)} beside what is never unloaded "
            f"({named}); raise it, or publish a smaller package"
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """A package in memory.

    Attributes:
        memory_bytes: that it takes.
        pinned: whether it stays whatever happens.
        leaving: whether it is being unloaded.
        jobs: that the engine has of it now.
        last_used: when the last one ended, or it was loaded; on the monotonic clock.
    """

    key: PackageKey
    memory_bytes: int
    pinned: bool = False
    leaving: bool = False
    jobs: int = 0
    last_used: float = 0.0


def taken_bytes(loaded: Iterable[Loaded]) -> int:
    """What packages take together."""
    return sum(each.memory_bytes for each in loaded)


def victims(loaded: Iterable[Loaded], excess_bytes: int) -> list[PackageKey] | None:
    """The packages to unload so that memory falls by `excess_bytes`: idle, least recently used first.

    Returns:
        None where those that are idle do not hold so much; none where those that are leaving do.
    """
    everything = list(loaded)
    missing = excess_bytes - taken_bytes(each for each in everything if each.leaving)
    idle = (each for each in everything if not (each.pinned or each.leaving or each.jobs))
    chosen: list[Loaded] = []
    for each in sorted(idle, key=lambda each: each.last_used):
        if missing <= 0:
            break
        chosen.append(each)
        missing -= each.memory_bytes
    if missing > 0:
        return None
    needed = []
    for each in reversed(chosen):
        if missing + each.memory_bytes <= 0:  # the others make room enough
            missing += each.memory_bytes
        else:
            needed.append(each.key)
    return needed[::-1]


@dataclass(slots=True)
class Turn:
    """A load on demand: whether others make room for it, since when it waits for its turn, until when for idle ones."""

    makes_room: bool = False
    is_deferred: bool = False
    ends: float = 0.0


class TurnAllowance:
    """Seconds that loading in another package's place may take: a share of the time, saved up to a limit.

    Args:
        now: monotonic seconds.
    """

    def __init__(self, now: float) -> None:
        self._seconds = TURNS_AT_ONCE_S
        self._at = now

    def wait_s(self, now: float) -> float:
        """Seconds until the next turn may begin; 0 where it may."""
        self._save(now)
        return max(0.0, -self._seconds / TURNS_SHARE)

    def spend(self, seconds: float, now: float) -> None:
        """Spend what a turn took, which may be more than there is: the next waits for it."""
        self._save(now)
        self._seconds -= seconds

    def _save(self, now: float) -> None:
        self._seconds = min(TURNS_AT_ONCE_S, self._seconds + (now - self._at) * TURNS_SHARE)
        self._at = now
