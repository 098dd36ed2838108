"""Half an hour of mixed load on a real service: every answer as known beforehand, and nothing that grows.

    answers of a fresh service ─▶ mixed load ─▶ wrong answers, 5xx: none
                                     └ every few seconds RSS, file descriptors, threads, series of metrics: no slope

With `--leak` the service is a control that keeps a part of every request, and the command must end with 1.
"""

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Self

from benchmarks import results, workplace
from benchmarks.contenders.contenders import free_port
from benchmarks.contenders.server import Caller, Server, write_keys
from benchmarks.results import Row
from benchmarks.trust import growth
from benchmarks.trust.controls import KEPT_BYTES
from benchmarks.trust.growth import Measured
from benchmarks.trust.mixture import COMES_AND_GOES, Answers, Publisher, Tally, calls, expect, mixed_load
from benchmarks.trust.targets import PACKAGES
from benchmarks.trust.wire import launch
from benchmarks.workplace import LOGS
from training.command_line import Parser

MINUTES: Final = 30.0
QUICK_S: Final = 20.0
EVERY_S: Final = 5.0
# The first of a window; threads start, arenas and caches fill.
WARM_UP_SHARE: Final = 1 / 6
CALLERS: Final = 6
LOADED: Final = f"plain,pairs,codes,conditional,vectors,{COMES_AND_GOES}"
# `limited` is refused now and then.
KEYS: Final = {"soak": {"weight": 2}, "limited": {"samples_per_second": 10, "burst": 100}, "idle": {"weight": 2}}
# Twenty times a second: 47 MiB in ten minutes.
LITTLE_BYTES: Final = 4096
IDLE_S: Final = 30.0
POLL_S: Final = 0.2
IDLE: Final = re.compile(rb"^(ganymede_requests_in_flight|ganymede_queue_samples)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Soaked:
    """What a soak showed.

    Attributes:
        tally: of the callers.
        growth: a row for each quantity.
        left: requests and queued samples that the service still counts after the load, beside the scrape.
        seconds: of the load.
    """

    tally: Tally
    growth: list[Row]
    left: float
    seconds: float

    @property
    def grows(self) -> list[str]:
        """Quantities that grow."""
        return [str(row["quantity"]) for row in self.growth if row["grows"]]

    @property
    def passes(self) -> bool:
        """Whether nothing was wrong, nothing grows and nothing is left."""
        return not (sum(self.tally.faults.values()) or self.grows or self.left)


@dataclass(frozen=True)
class Prepared:
    """What a soak needs: packages, keys, and every answer as a fresh service gave it.

    Attributes:
        folder: of the packages, the keys and the cache.
        headers: of a caller with a key.
    """

    folder: Path
    publisher: Publisher
    headers: Mapping[str, str]
    known: Answers

    @classmethod
    def make(cls, folder: Path) -> Self:
        """Prepare an empty folder."""
        LOGS.mkdir(parents=True, exist_ok=True)
        shutil.copytree(PACKAGES, folder / "models")
        publisher = Publisher(folder / "models")
        publisher.publish()
        keys = write_keys(folder / "keys.toml", KEYS)
        with _serving(folder, "soak-fresh.log") as (_, port):
            known = expect(port, calls(keys))
        return cls(folder, publisher, {"x-api-key": keys["soak"]}, known)


Show = Callable[[Measured, Tally], None]


def soak(prepared: Prepared, seconds: float, every_s: float, show: Show, *, workers: int = 0, leak: int = 0) -> Soaked:
    """Soak a service.

    Args:
        seconds: of the load.
        every_s: between two measurements.
        show: told of each measurement.
        workers: API processes; 0 for one process.
        leak: bytes that the leaky control keeps of a request; 0 for the service itself.
    """
    own = prepared.headers
    with _serving(prepared.folder, "soak.log", workers=workers, leak=leak) as (server, port):
        measured: list[Measured] = []
        with mixed_load(port, prepared.known, prepared.publisher, own, CALLERS) as tally:
            for each in growth.watch(lambda: growth.measure(server.pid, port, own), every_s, seconds):
                measured.append(each)
                show(each, tally)
        grown = growth.judge(measured, seconds * WARM_UP_SHARE)
        return Soaked(tally=tally, growth=grown, left=_left(port), seconds=seconds)


@contextmanager
def _serving(folder: Path, log: str, *, workers: int = 0, leak: int = 0) -> Iterator[tuple[Server, int]]:
    port = free_port()
    start = launch(
        port, log, models_dir=folder / "models", cache_dir=folder / "cache", keys_file=folder / "keys.toml",
        load_models=LOADED, api_workers=workers, rescan_interval_s=0.5, log_level="error",
    )  # fmt: skip
    if leak:
        start = replace(start, command=[sys.executable, "-m", "benchmarks.trust.controls", str(leak)])
    with Server(start) as server:
        server.ready(port)
        yield server, port


def _left(port: int) -> float:
    """Requests and samples that are still counted once the load has ended, beside the scrape that asks."""
    until_s = time.monotonic() + IDLE_S
    while True:
        with Caller(port) as caller:
            counted = IDLE.findall(caller.get("/metrics"))
        left = sum(float(value) for _, value in counted) - 1
        if left <= 0 or time.monotonic() > until_s:
            return left
        time.sleep(POLL_S)


class Progress:
    """A line about the load while it runs."""

    def __init__(self, seconds: float) -> None:
        # Imported here: needs tqdm, which a soak in a test does not.
        from tqdm import tqdm  # noqa: PLC0415

        from training.progress import is_terminal, refresh_s  # noqa: PLC0415

        form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s [{postfix}]"
        self._bar = tqdm(
            total=seconds, desc="soak", mininterval=refresh_s(), dynamic_ncols=is_terminal(), bar_format=form
        )

    def show(self, measured: Measured, tally: Tally) -> None:
        """Show where the load stands."""
        held = sum(value for name, value in measured.values.items() if name.startswith("rss")) / growth.MEBIBYTE
        wrong = sum(tally.faults.values())
        self._bar.set_postfix_str(f"{tally.asked.total():,} asked, {wrong} wrong, {held:.1f} MiB", refresh=False)
        self._bar.update(measured.at_s - self._bar.n)

    def close(self) -> None:
        """End the line."""
        self._bar.close()


def parser() -> Parser:
    """Make the argument parser."""
    made = workplace.parser("soak", __doc__, "--minutes 30 --workers 2")
    made.add_argument("--minutes", type=float, help=f"of the load (default: {MINUTES:g}; --quick {QUICK_S:g} seconds)")
    made.add_argument("--workers", type=int, default=0, help="API processes (default: 0, everything in one process)")
    made.add_argument("--leak", action="store_true", help="soak the leaky control, in one process, which must fail")
    return made


def main(arguments: list[str]) -> int:
    """Soak; returns 1 where something was wrong, grows or is left."""
    asked = parser().parse_args(arguments)
    if asked.leak and asked.workers:
        sys.exit("the leaky control is one process; leave out --workers")
    seconds = asked.minutes * 60 if asked.minutes else QUICK_S if asked.quick else MINUTES * 60
    bar = Progress(seconds)
    try:
        with TemporaryDirectory() as folder:
            prepared = Prepared.make(Path(folder))
            every_s = min(EVERY_S, seconds / 20)
            found = soak(
                prepared, seconds, every_s, bar.show, workers=asked.workers, leak=_kept(seconds) if asked.leak else 0
            )
    finally:
        bar.close()
    _tell(found)
    name = "soak-control" if asked.leak else f"soak-{asked.workers}-workers" if asked.workers else "soak"
    settings = {"seconds": seconds, "workers": asked.workers, "callers": CALLERS, "leak": asked.leak}
    rows = [_summary(found), *({"row": "growth", **row} for row in found.growth)]
    sys.stdout.write(f"{results.write(name, settings, rows, workplace.folder(asked))}\n")
    return 0 if found.passes else 1


def _kept(seconds: float) -> int:
    """What the control keeps of a request: little in a long run, which must find little."""
    return KEPT_BYTES if seconds < growth.TEN_MINUTES_S else LITTLE_BYTES


def _summary(found: Soaked) -> Row:
    tally = found.tally
    return {
        "row": "answers",
        "seconds": round(found.seconds, 1),
        "asked": tally.asked.total(),
        "kinds": len(tally.asked),
        "reloads": tally.asked["reload"],
        "left by callers": sum(count for name, count in tally.asked.items() if name.startswith("leaves")),
        "wrong": tally.faults["wrong"],
        "5xx": tally.faults["5xx"],
        "lost": tally.faults["lost"],
        "quota": tally.apart.total(),
        "left": found.left,
        "passes": found.passes,
    }


def _tell(found: Soaked) -> None:
    """Print what was found, for people."""
    tally = found.tally
    for name, count in sorted(tally.asked.items()):
        sys.stdout.write(f"{name:24} {count:>9,}\n")
    for name, count in sorted((tally.apart + tally.faults).items()):
        sys.stdout.write(f"  {name:22} {count:>9,}\n")
    for words in tally.words:
        sys.stdout.write(f"  {words}\n")
    for row in found.growth:
        sys.stdout.write(
            f"{row['quantity']:24} {row['first']:>9} to {row['last']:>9}, {row['slope_10_min']:+} in ten minutes of at "
            f"most {row['most_10_min']}{', GROWS' if row['grows'] else ''}\n"
        )
