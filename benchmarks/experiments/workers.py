"""Several HTTP processes in front of one engine process, against one process that does both.

    workers 1   the default: HTTP and models in one process
    workers N   N HTTP processes, one engine process (GANYMEDE_API_WORKERS)

On few cores the ratio shows the cost of the second hop; on many cores, or with a device that computes faster than one
Python process answers, it shows when several processes pay.
"""

import sys
from collections.abc import Iterator
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import Ours, Setting, free_port
from benchmarks.contenders.server import Server
from benchmarks.load import cells, closed_loop
from benchmarks.results import Row

NETWORKS: Final = ("zero", "g28")
# (n, connections): one connection, single samples, large requests.
LOADS: Final = ((1, 1), (1, 64), (16, 16))
WARM_UP_S: Final = 1.0


def measure(counts: tuple[int, ...], rounds: int, duration_s: float, attempts: int) -> Iterator[Row]:
    """Measure each number of workers in turn.

    Args:
        counts: numbers of HTTP processes.
        rounds: measurements of each cell.
        duration_s: of each measurement.
        attempts: most measurements of a cell in a round, where the machine is not quiet.
    """
    for turn in range(rounds):
        for network in NETWORKS:
            for count in counts:
                for row in _one(network, count, duration_s, attempts):
                    yield {"round": turn, "network": network, "workers": count, **row}


def _one(network: str, count: int, duration_s: float, attempts: int) -> Iterator[Row]:
    setting, port = Setting(network=network), free_port()
    contender = Ours(name=f"ganymede-{count}", environment={"GANYMEDE_API_WORKERS": str(count)})
    with Server(contender.launch(setting, port)) as server:
        server.first_answer(contender.work(setting, port, 1))
        for n, connections in LOADS:
            work = contender.work(setting, port, n)
            closed_loop.run(work, connections, WARM_UP_S)
            load = cells.closed(work, connections, duration_s)
            yield {"n": n, "connections": connections, **cells.measure(load, server.pid, n, attempts)}


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("workers", __doc__)
    parser.add_argument("--counts", default="1,2", help="numbers of HTTP processes")
    asked = parser.parse_args(arguments)
    rounds, duration_s, attempts = (1, 1.0, 1) if asked.quick else (3, 3.0, cells.ATTEMPTS)
    counts = tuple(int(count) for count in asked.counts.split(","))
    total = rounds * len(NETWORKS) * len(counts) * len(LOADS)
    rows = workplace.measured(measure(counts, rounds, duration_s, attempts), "HTTP processes", total)
    path = results.write("workers", {"rounds": rounds, "duration_s": duration_s}, rows, workplace.folder(asked))
    sys.stdout.write(f"{path}\n")
