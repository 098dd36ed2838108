"""Measures one cell, and repeats the measurement where other processes used the machine too much.

read the counters → load → read the counters → foreign load below the limit? else again
"""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict

from benchmarks.load import closed_loop, open_loop, usage
from benchmarks.load.closed_loop import Load, Work, json_work
from benchmarks.results import Row
from benchmarks.workplace import command

Loading = Callable[[], Load]

# Cores that other processes may use during a measurement (benchmarks/README.md, Protocol).
FOREIGN_LIMIT = 0.15
# Foreign load lasts seconds or minutes: two more attempts outlast the first, no number of them the second.
ATTEMPTS = 3


def closed(work: Work, connections: int, duration_s: float, core: int | None = None) -> Loading:
    """A closed loop as a function."""
    return lambda: closed_loop.run(work, connections, duration_s, core)


def constant(work: Work, rate_per_s: float, duration_s: float) -> Loading:
    """An open loop as a function."""
    return lambda: open_loop.run(work, rate_per_s, duration_s)


def measure(load: Loading, pid: int | None, n: int, attempts: int = ATTEMPTS) -> Row:
    """Run a load until the machine is quiet during it, or the attempts are used up.

    Args:
        load: to be run.
        pid: of the server's first process.
        n: samples of one request.
        attempts: at least 1.

    Returns:
        The attempt with the least foreign load: fields of `Load`, samples a second, cores used by the server, the load
        generator and other processes, and whether it was quiet.
    """
    tried: list[Row] = []
    while len(tried) < attempts and not (tried and tried[-1]["quiet"]):
        before = usage.read(pid)
        found = load()
        used = usage.between(before, usage.read(pid), found.generator_cpu_s)
        cores = {f"{who}_cores": value for who, value in asdict(used).items() if who != "wall_s"}
        tried.append(
            {
                "samples_per_s": found.requests * n / found.wall_s,
                **{key: value for key, value in asdict(found).items() if key != "generator_cpu_s"},
                **cores,
                "server_cpu_s": used.server * used.wall_s,
                "quiet": used.foreign <= FOREIGN_LIMIT,
            }
        )
    return min(tried, key=lambda row: float(row["foreign_cores"] or 0))


def share_of_ceiling(rate: float, taken_cores: float, ceiling: float, ceiling_taken_cores: float, cores: int) -> float:
    """Share of the ceiling that a server reached with the cores left to it.

    Args:
        rate: samples a second through the server.
        taken_cores: used by the load generator and other processes during it.
        ceiling: samples a second of the bare runtime.
        ceiling_taken_cores: used by other processes during it.
        cores: of the machine.

    Returns:
        The ratio of both rates per core left.
    """
    return (rate / (cores - taken_cores)) / (ceiling / (cores - ceiling_taken_cores))


WARM_UP_S = 1.0


def main(arguments: list[str]) -> None:
    """Load the server, and write the result as JSON."""
    parser = command(
        "load",
        "Load one running server with a closed loop; API_KEY is sent as its key, if set.",
        "http://127.0.0.1:8000 --model mnist --seconds 10",
    )
    parser.add_argument("url", help="of the service, without a path")
    parser.add_argument("--model", default="zero", help="package")
    parser.add_argument("--n", type=int, default=1, help="samples of one request")
    parser.add_argument("--connections", type=int, default=1, help="at a time")
    parser.add_argument("--format", default="npy", help="of the answer: npy, png, json")
    parser.add_argument("--seconds", type=float, default=5.0, help="of the measurement; by default 5")
    parser.add_argument("--pid", type=int, help="of the server, to report its processor time and memory")
    parser.add_argument("--core", type=int, help="that the load generator is pinned to")
    asked = parser.parse_args(arguments)
    work = json_work(f"{asked.url}/generate?format={asked.format}", asked.n, model=asked.model)
    sys.stderr.write(f"loading for {WARM_UP_S + asked.seconds:g} s, then the result follows\n")
    closed_loop.run(work, asked.connections, WARM_UP_S, asked.core)
    before = usage.read(asked.pid)
    load = closed_loop.run(work, asked.connections, asked.seconds, asked.core)
    used = usage.between(before, usage.read(asked.pid), load.generator_cpu_s)
    found: dict[str, object] = {
        "requests_per_s": load.requests / load.wall_s,
        "samples_per_s": load.requests * asked.n / load.wall_s,
        **asdict(load),
        "cores": asdict(used),
    }
    if asked.pid is not None:
        found |= {
            "server_cpu_us_per_request": used.server * used.wall_s / load.requests / closed_loop.MICRO,
            "memory_bytes": usage.memory_bytes(asked.pid),
        }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
