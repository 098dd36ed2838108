"""The closed loop: C connections, each of which sends its next request as soon as it has its answer. By wrk.

It tells how much a server can do. It does not tell how long callers wait who come whether or not the server is ready
(`open_loop.py` does): here a slow server is simply asked less often. wrk is a program in C, so that the load takes
little of the machine that the server needs; what it takes is told.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_name("post.lua")
# wrk waits this long for an answer before it calls the connection broken: longer than any server here keeps one.
TIMEOUT_S: Final = 30
# For wrk itself to start and end, beyond the time that it was asked for.
MARGIN_S: Final = 60.0
MICRO: Final = 1e-6


class LoadFailed(Exception):
    """The load could not be made, or the server did not answer it."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is asked of a server, again and again, with another seed each time.

    Attributes:
        url: with path and query.
        n: samples of one request.
        head: the body up to the seed.
        tail: the body behind it.
        in_base64: whether the samples come as base64, because the server's HTTP has no other way for bytes.
    """

    url: str
    n: int
    head: str
    tail: str = "}"
    in_base64: bool = False

    def body(self, seed: int) -> bytes:
        """One request's body, as the load writes it."""
        return f"{self.head}{seed}{self.tail}".encode()


def json_work(url: str, n: int, **fields: str) -> Work:
    """Ask with a JSON object that holds `n`, `seed` and some fields more."""
    return Work(url=url, n=n, head=json.dumps(fields | {"n": n})[:-1] + ', "seed": ')


@dataclass(frozen=True, kw_only=True)
class Load:
    """What came of a load.

    Attributes:
        requests: answered.
        wall_s: how long it lasted.
        p50_s: median time of a request.
        p90_s: the time that 90 % did not pass.
        p99_s: likewise 99 %.
        worst_s: the longest.
        generator_cpu_s: processor time of the program that made the load.
    """

    requests: int
    wall_s: float
    p50_s: float
    p90_s: float
    p99_s: float
    worst_s: float
    generator_cpu_s: float


def run(work: Work, connections: int, duration_s: float, core: int | None = None) -> Load:
    """Load a server.

    Args:
        work: what it is asked.
        connections: C, at least 1.
        duration_s: at least 1; wrk counts whole seconds.
        core: that wrk is confined to; None leaves it where the system puts it.

    Raises:
        LoadFailed: wrk is not there, or a request was refused or broken.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(duration_s))}s", f"--timeout={TIMEOUT_S}s"]
    command += ["-s", str(SCRIPT), work.url, "--", work.head, work.tail, str(work.n)]
    pinned = command if core is None else ["taskset", "-c", str(core), *command]
    before = os.times()
    try:
        done = subprocess.run(  # noqa: S603 - no word of the command comes from outside
            pinned, capture_output=True, text=True, check=True, timeout=duration_s + MARGIN_S
        )
    except FileNotFoundError as error:
        raise LoadFailed(f"{error.filename} is not installed; `apt-get install wrk` has it") from error
    except subprocess.SubprocessError as error:
        raise LoadFailed(f"wrk failed: {error}") from error
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return read(done.stdout, cpu_s)


def read(report: str, cpu_s: float) -> Load:
    """Understand what wrk wrote.

    Args:
        report: its standard output.
        cpu_s: processor time that it took.

    Raises:
        LoadFailed: it holds no result, or not every request was answered well.
    """
    lines = [line.removeprefix("RESULT ") for line in report.splitlines() if line.startswith("RESULT ")]
    if not lines:
        raise LoadFailed(f"wrk wrote no result: {report}")
    found = json.loads(lines[0])
    if found["refused"] or found["broken"] or not found["requests"]:
        raise LoadFailed(f"of {found['requests']} requests {found['refused']} were refused, {found['broken']} broken")
    return Load(
        requests=found["requests"],
        wall_s=found["duration_us"] * MICRO,
        p50_s=found["p50_us"] * MICRO,
        p90_s=found["p90_us"] * MICRO,
        p99_s=found["p99_us"] * MICRO,
        worst_s=found["max_us"] * MICRO,
        generator_cpu_s=cpu_s,
    )
