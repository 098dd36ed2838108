"""Starts a server process, waits for its first response, and ends it with all its children.

Servers run one at a time, each restarted in each round, so that none warms a cache or takes a core of another.
"""

import hashlib
import http.client
import os
import secrets
import signal
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.load.closed_loop import LoadFailed, Work
from benchmarks.load.usage import family
from benchmarks.workplace import ROOT

HOST = "127.0.0.1"
# Ten times the start of the slowest server (Ray) on a quiet machine.
START_TIMEOUT_S = 120.0
# Shorter than any start, longer than an attempt.
POLL_S = 0.02
STOP_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 30.0
LOG_TAIL = 2000  # characters of a server's log in an error message


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How to start a server.

    Attributes:
        command: program and arguments.
        environment: added to the harness's environment, without its GANYMEDE_… variables.
        log: file for its output.
        core: CPU that all its processes are pinned to; None for all.
    """

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path
    core: int | None = None


def write_keys(file: Path, granted: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Write a file of new keys, each with what it is granted (weight, quota); returns name → key."""
    keys = {name: secrets.token_urlsafe(32) for name in granted}
    tables = []
    for name, key in keys.items():
        lines = (f"{field} = {value}" for field, value in granted[name].items())
        digest = hashlib.sha256(key.encode()).hexdigest()
        tables.append("\n".join((f"[keys.{name}]", f'sha256 = "{digest}"', *lines)))
    file.write_text("\n\n".join(tables) + "\n", encoding="utf-8")
    return keys


class Server:
    """A running server; leaving the block ends it and its descendants.

    Attributes:
        started_s: the monotonic clock just before its start.
    """

    def __init__(self, launch: Launch) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("GANYMEDE_")}
        pinned = [] if launch.core is None else ["taskset", "-c", str(launch.core)]
        self._log = launch.log
        self.started_s = time.monotonic()
        with launch.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the harness's own commands
                [*pinned, *launch.command],
                cwd=ROOT,
                env=inherited | dict(launch.environment),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C ends the harness, which then ends the server
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        processes = family(self.pid)
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid in processes[1:]:
            with suppress(ProcessLookupError):  # most have ended with it
                os.kill(pid, signal.SIGKILL)

    @property
    def pid(self) -> int:
        """The server's first process: `taskset` replaces itself by the program."""
        return self._process.pid

    def first_answer(self, work: Work, key: str | None = None) -> tuple[bytes, float]:
        """Send the request with seed 0 until it succeeds; returns and raises as `until`."""
        return self.until(lambda: ask(work, 0, key))

    def until(self, attempt: Callable[[], bytes]) -> tuple[bytes, float]:
        """Ask something until it succeeds.

        Returns:
            The response's body, and the seconds from the process's start to its last byte.

        Raises:
            LoadFailed: the process ended, or did not answer in time.
        """
        last: Exception | None = None
        while time.monotonic() - self.started_s < START_TIMEOUT_S:
            if self._process.poll() is not None:
                raise LoadFailed(f"the server ended: {self._log_tail()}")
            try:
                return attempt(), time.monotonic() - self.started_s
            except (OSError, http.client.HTTPException, LoadFailed) as error:
                last = error
                time.sleep(POLL_S)
        raise LoadFailed(f"no good answer in {START_TIMEOUT_S:g} s: {self._log_tail()}") from last

    def ready(self, port: int) -> float:
        """Wait until it says that it is ready; returns the seconds since its start."""

        def ask_once() -> bytes:
            with Caller(port) as caller:
                return caller.get("/readyz")

        return self.until(ask_once)[1]

    def _log_tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]


def ask(work: Work, seed: int, key: str | None = None) -> bytes:
    """Send one request on a new connection.

    Raises:
        LoadFailed: the status is not 200.
        OSError: the connection was refused or broke.
    """
    url = urllib.parse.urlsplit(work.url)
    connection = http.client.HTTPConnection(url.hostname or HOST, url.port, timeout=ANSWER_TIMEOUT_S)
    headers = {"Content-Type": "application/json"} | ({"X-API-Key": key} if key else {})
    try:
        connection.request("POST", f"{url.path}?{url.query}" if url.query else url.path, work.body(seed), headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != http.client.OK:
        raise LoadFailed(f"{work.url} answered {answer.status}: {content[:LOG_TAIL].decode(errors='replace')}")
    return content


class Caller:
    """One persistent connection to a server.

    Args:
        port: of the server, on this host.
    """

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def post(self, path: str, body: bytes, kind: str = "application/json") -> bytes:
        """Send a request, and read the response.

        Raises:
            LoadFailed: the status is not 200.
        """
        self._connection.request("POST", path, body, {"Content-Type": kind})
        return self._read(path)

    def get(self, path: str) -> bytes:
        """As `post`."""
        self._connection.request("GET", path)
        return self._read(path)

    def _read(self, path: str) -> bytes:
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise LoadFailed(f"{path} answered {answer.status}: {content[:LOG_TAIL].decode(errors='replace')}")
        return content
