"""Closed loop by wrk: C connections, each sends its next request as soon as the last response is complete.

It measures throughput. It does not measure latency at a given rate (`open_loop.py` does), because a slow server gets
fewer requests. wrk is a C program, so that the load generator takes little processor time; what it takes is reported.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCRIPT: Final = Path(__file__).with_name("post.lua")
# Of wrk for a response; longer than any server here takes.
TIMEOUT_S: Final = 30
# For wrk to start and end, beyond the requested duration.
MARGIN_S: Final = 60.0
MICRO: Final = 1e-6


class LoadFailed(Exception):
    """The load could not be generated, or a request failed."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """A request that is repeated with a new seed each time.

    Attributes:
        url: with path and query.
        n: samples of one request.
        head: the body before the seed.
        tail: the body after the seed.
        in_base64: whether the samples in the response are base64.
    """

    url: str
    n: int
    head: str
    tail: str = "}"
    in_base64: bool = False

    def body(self, seed: int) -> bytes:
        """The body of the request with this seed."""
        return f"{self.head}{seed}{self.tail}".encode()


def json_work(url: str, n: int, **fields: str) -> Work:
    """A request whose body is a JSON object of `n`, `seed` and further fields."""
    return Work(url=url, n=n, head=json.dumps(fields | {"n": n})[:-1] + ', "seed": ')


@dataclass(frozen=True, kw_only=True)
class Load:
    """Result of a load.

    Attributes:
        requests: answered.
        wall_s: duration.
        p50_s: latency, median; `p90_s` and `p99_s` are its other quantiles, `worst_s` the longest.
        generator_cpu_s: processor time of the load generator.
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
        work: the request.
        connections: C, at least 1.
        duration_s: at least 1; wrk counts whole seconds.
        core: CPU that wrk is pinned to; None for all.

    Raises:
        LoadFailed: wrk is not installed, or a request failed.
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
    """Parse the output of wrk.

    Args:
        report: its standard output.
        cpu_s: processor time of wrk.

    Raises:
        LoadFailed: there is no result, or a request failed.
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
