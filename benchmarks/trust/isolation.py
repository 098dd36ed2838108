"""Reads fuzzed inputs in a child process, so that a crash or a hang is caught and told by its input.

    parent ──▶ child: target, seed, first number, count     (`python -m benchmarks.trust.isolation`)
      ▲  ▲       │  writes each number into a mapped file before it reads the input
      │  └───────┘  prints one line of JSON a finding, and one at its end
      └ the child died: the number in the file is its input; the next child goes on behind it
        the number does not change: the child is asked for its stack, and killed

Memory is the kernel's peak of resident memory (VmHWM) of the process that reads, reset before each block of inputs.
Where a block takes more than the target's limit, its inputs are read once more, one by one. RLIMIT_AS is a second
limit, so that no input takes the machine's memory.
"""

import argparse
import contextlib
import faulthandler
import importlib
import json
import logging
import mmap
import os
import re
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Literal, Self

from benchmarks.load.usage import PROC, family
from benchmarks.trust.inputs import MEBIBYTE, Opened, Target, Wrong, make
from benchmarks.workplace import ROOT

Kind = Literal["exception", "crash", "hang", "memory", "slow", "wrong"]

CORPUS: Final = ROOT / "benchmarks" / "trust" / "corpus"
BLOCK: Final = 64
# Of an input that takes no processor time: a lock, a socket. Ten times what a loaded machine delays a process.
HANG_S: Final = 10.0
# Imports, valid inputs and, for a service, its start.
START_S: Final = 120.0
POLL_S: Final = 0.05
NUMBER: Final = struct.Struct("<q")
OWN: Final = PROC / "self"
KIBIBYTE: Final = 1024
TRACE_LINES: Final = 4
FRAME: Final = re.compile(r'File "(.+)", line (\d+) in (\S+)')  # of faulthandler
REPORT_S: Final = 0.5
# Of one kind and words; the outcomes count the rest.
MOST_ALIKE: Final = 5
# Of one target; a reader that keeps dying is mended before more is found.
MOST_DEATHS: Final = 20
RESTARTED: Final = 3  # exit code of a child that asks to be replaced: its memory limit no longer holds
LAST_WORDS: Final = 2000  # characters
# Where targets are found by name; the controls first, because they import nothing.
REGISTRIES: Final = ("benchmarks.trust.controls", "benchmarks.trust.targets", "benchmarks.trust.wire")


@dataclass(frozen=True)
class Finding:
    """One input that was read wrongly.

    Attributes:
        number: of the input; negative ones are files of the corpus.
        kind: how.
        words: what was seen.
    """

    target: str
    seed: int
    number: int
    kind: Kind
    words: str


@dataclass
class Reading:
    """What reading a target's inputs showed so far.

    Attributes:
        inputs: read.
        outcomes: results and declared errors, by name.
        peak_bytes: most memory of one block beyond what the process held.
        longest_s: most processor time of one input.
        deaths: children that were replaced.
    """

    inputs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    peak_bytes: int = 0
    longest_s: float = 0.0
    deaths: int = 0


def corpus_of(target: str, folder: Path) -> list[bytes]:
    """Past findings of a target."""
    return [path.read_bytes() for path in sorted((folder / target).glob("*")) if path.is_file()]


def load(name: str) -> Target:
    """Make a target.

    Raises:
        KeyError: there is none of this name.
    """
    for module in REGISTRIES:
        if name in (known := importlib.import_module(module).TARGETS):
            made: Target = known[name][0]()
            return made
    raise KeyError(name)


def input_of(target: Target, name: str, seed: int, number: int, corpus: list[bytes]) -> bytes:
    """An input by its number."""
    if number < 0:
        return corpus[number]
    return make([*target.seeds, *corpus], target.own, name, seed, number)


def read_inputs(name: str, seed: int, numbers: range, folder: Path, hang_s: float = HANG_S) -> Iterator[Reading]:
    """Read inputs in child processes, one after the other.

    Args:
        numbers: of the inputs, ascending by one.
        folder: of the corpus.
        hang_s: seconds without progress after which a child is killed.

    Yields:
        What was found so far, several times a second.
    """
    reading = Reading()
    first = numbers.start
    with tempfile.NamedTemporaryFile() as shared:
        shared.write(NUMBER.pack(first - 1))
        shared.flush()
        with mmap.mmap(shared.fileno(), NUMBER.size, access=mmap.ACCESS_READ) as place:
            while first < numbers.stop and reading.deaths < MOST_DEATHS:
                with _Child(name, seed, range(first, numbers.stop), folder, Path(shared.name)) as child:
                    for reached in child.watch(place, hang_s):
                        reading.inputs = max(0, reached - numbers.start)
                        child.take(reading)
                        yield reading
                    child.take(reading)
                    reached = NUMBER.unpack_from(place)[0]
                    if child.is_done:
                        break
                    if child.process.returncode == 1 or reached < first:  # 1: an exception outside of the reader
                        raise RuntimeError(f"the child of {name} failed behind input {reached}: {child.words}")
                    reading.findings += child.death(reached)
                    reading.deaths += 1
                    first = reached + 1
            reading.inputs = NUMBER.unpack_from(place)[0] + 1 - numbers.start
    yield reading


class _Child:
    """One child process, and what it wrote."""

    def __init__(self, name: str, seed: int, numbers: range, folder: Path, shared: Path) -> None:
        self._name, self._seed = name, seed
        self._files = contextlib.ExitStack()
        self._written = self._files.enter_context(_shared_file())
        self._errors = self._files.enter_context(_shared_file())
        self._taken = 0  # bytes
        self._hung = False
        self.is_done = False
        self.process = subprocess.Popen(  # noqa: S603 - the harness's own command
            [
                sys.executable, "-m", "benchmarks.trust.isolation", name, str(seed), str(numbers.start),
                str(numbers.stop), str(folder), str(shared),
            ],
            cwd=ROOT, stdout=self._written, stderr=self._errors, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        self._files.close()

    def watch(self, place: mmap.mmap, hang_s: float) -> Iterator[int]:
        """Wait for the end; yields the number that is being read."""
        begun = NUMBER.unpack_from(place)[0]
        last, changed = begun, time.monotonic()
        while self.process.poll() is None:
            time.sleep(POLL_S)
            now = NUMBER.unpack_from(place)[0]
            if now != last:
                last, changed = now, time.monotonic()
            elif time.monotonic() - changed > (START_S if now == begun else hang_s):
                self._hung = now != begun
                self.process.send_signal(signal.SIGUSR1)  # prints its stack (faulthandler)
                time.sleep(POLL_S)
                self.end()
            yield now

    def end(self) -> None:
        """Kill it with all that it started."""
        for pid in family(self.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    @property
    def words(self) -> str:
        """The innermost lines of the last stack on stderr; without one, the last that it wrote."""
        self._errors.seek(0)
        said = self._errors.read()[-LAST_WORDS:].strip()
        frames = FRAME.findall(said.rpartition("most recent call first")[2])
        return " < ".join(f"{Path(file).name}:{line} {name}" for file, line, name in frames[:TRACE_LINES]) or said

    def take(self, reading: Reading) -> None:
        """Add what it wrote since the last time."""
        self._written.seek(self._taken)
        while (line := self._written.readline()).endswith("\n"):
            self._taken += len(line.encode())
            said = json.loads(line)
            if "kind" in said:
                reading.findings.append(Finding(self._name, self._seed, said["number"], said["kind"], said["words"]))
            else:
                reading.outcomes.update(said["outcomes"])
                reading.peak_bytes = max(reading.peak_bytes, said["peak_bytes"])
                reading.longest_s = max(reading.longest_s, said["longest_s"])
                self.is_done = said["done"]

    def death(self, reached: int) -> list[Finding]:
        """What it died of; nothing where it asked to be replaced."""
        if self.process.returncode == RESTARTED:
            return []
        if self._hung:
            return [Finding(self._name, self._seed, reached, "hang", self.words)]
        status = self.process.returncode
        name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
        return [Finding(self._name, self._seed, reached, "crash", f"{name}: {self.words}")]


def _shared_file() -> IO[str]:
    """A temporary file that a child appends to, because it shares the position with its parent, who reads."""
    return tempfile.TemporaryFile("a+", encoding="utf-8")


def _memory(process: Path) -> tuple[int, int]:
    """(resident, peak) memory of a process."""
    status = (process / "status").read_text(encoding="ascii")
    found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+)", status, re.MULTILINE))
    return int(found["VmRSS"]) * KIBIBYTE, int(found["VmHWM"]) * KIBIBYTE


def _reset_peak(process: Path) -> int:
    """Let the peak begin again; returns the resident memory."""
    (process / "clear_refs").write_text("5", encoding="ascii")
    return _memory(process)[0]


@dataclass
class _Reader:
    """Reads inputs within the limits of their target."""

    name: str
    seed: int
    target: Target
    opened: Opened
    corpus: list[bytes]
    place: mmap.mmap
    outcomes: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0
    peak_bytes: int = 0
    told: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    reported_s: float = field(default_factory=time.monotonic)

    @property
    def process(self) -> Path:
        """Of the process whose memory is limited."""
        return OWN if self.opened.pid is None else PROC / str(self.opened.pid)

    def block(self, numbers: range) -> bool:
        """Read some inputs; whether this process may go on."""
        held = _reset_peak(self.process)
        for number in numbers:
            self.one(number)
        peak = _memory(self.process)[1] - held
        self.peak_bytes = max(self.peak_bytes, peak)
        if peak <= self.target.memory_bytes:
            return True
        alone = 0
        for number in numbers:
            held = _reset_peak(self.process)
            self.one(number, again=True)
            if (taken := _memory(self.process)[1] - held) > self.target.memory_bytes:
                alone += 1
                self.tell(number, "memory", f"takes {taken // MEBIBYTE} MiB")
        if not alone:
            words = f"{len(numbers)} inputs together take {peak // MEBIBYTE} MiB, and no one alone"
            self.tell(numbers.start, "memory", words)
        return alone > 0

    def one(self, number: int, *, again: bool = False) -> None:
        """Read one input."""
        self.place[: NUMBER.size] = NUMBER.pack(number)
        content = input_of(self.target, self.name, self.seed, number, self.corpus)
        outcome = "read"
        began = time.process_time()
        try:
            self.opened.read(content)
        except self.target.declared as error:
            outcome = type(error).__name__
        except Wrong as error:
            outcome = self.tell(number, "wrong", str(error), again=again)
        except MemoryError:
            outcome = self.tell(number, "memory", _trace("MemoryError"), again=again)
        except Exception as error:  # noqa: BLE001 - every other exception is what is looked for
            outcome = self.tell(number, "exception", _trace(repr(error)), again=again)
        took_s = time.process_time() - began
        if took_s > self.target.seconds:
            self.tell(number, "slow", f"took {took_s:.1f} s of processor time", again=again)
        if not again:
            self.longest_s = max(self.longest_s, took_s)
            self.outcomes[outcome] += 1

    def tell(self, number: int, kind: Kind, words: str, *, again: bool = False) -> str:
        """Print a finding."""
        self.told[kind, words] += not again
        if not again and self.told[kind, words] <= MOST_ALIKE:
            _print({"number": number, "kind": kind, "words": words})
        return kind

    def report(self, *, done: bool | None = None) -> None:
        """Print what was read since the last report; at the end (`done`), or once enough time has passed."""
        now_s = time.monotonic()
        if done is None and now_s - self.reported_s < REPORT_S:
            return
        self.reported_s = now_s
        shown = {"outcomes": self.outcomes, "peak_bytes": self.peak_bytes, "longest_s": self.longest_s}
        _print({"done": bool(done), **shown})
        self.outcomes.clear()


def _print(said: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


def _trace(words: str) -> str:
    """The innermost lines of the stack of the exception that is being handled."""
    *_, stack = sys.exc_info()
    frames = traceback.extract_tb(stack)[-TRACE_LINES:]
    return " < ".join([words, *(f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in reversed(frames))])


def main() -> int:
    """Read a range of inputs as a child."""
    parser = argparse.ArgumentParser()
    for name, kind in (
        ("target", str),
        ("seed", int),
        ("first", int),
        ("stop", int),
        ("corpus", Path),
        ("shared", Path),
    ):
        parser.add_argument(name, type=kind)
    asked = parser.parse_args()
    logging.disable()  # what libraries say of bad input is not of interest, thousands of times
    warnings.simplefilter("ignore")
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=False)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    target = load(asked.target)
    with (
        target.opened() as opened,
        asked.shared.open("r+b") as shared,
        mmap.mmap(shared.fileno(), NUMBER.size) as place,
    ):
        for valid in target.seeds:  # imports and caches, before memory is measured
            with contextlib.suppress(*target.declared):
                opened.read(valid)
        if target.address_bytes is not None:
            size = int(re.findall(r"VmSize:\s+(\d+)", (OWN / "status").read_text(encoding="ascii"))[0]) * KIBIBYTE
            resource.setrlimit(resource.RLIMIT_AS, (size + target.address_bytes,) * 2)
        reader = _Reader(asked.target, asked.seed, target, opened, corpus_of(asked.target, asked.corpus), place)
        goes_on = True
        for start in range(asked.first, asked.stop, BLOCK):
            goes_on = reader.block(range(start, min(start + BLOCK, asked.stop)))
            if not goes_on:
                break
            reader.report()
        reader.report(done=goes_on)
    return 0 if goes_on else RESTARTED


if __name__ == "__main__":
    sys.exit(main())
