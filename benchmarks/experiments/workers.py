"""Several HTTP processes in front of one engine process, or replicas on Ray, against one process that does both.

    workers 1   the default: HTTP and models in one process
    workers N   N HTTP processes, one engine process (GANYMEDE_API_WORKERS)
    replicas N  N whole services behind Ray's proxy (deploy/ray), which share the cores

On few cores the ratio shows the cost of the second hop; on many cores, or with a device that computes faster than one
Python process answers, it shows when several processes pay. Replicas on one machine cannot show how replicas on several
scale.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import OnRay, Ours, Setting, free_port
from benchmarks.contenders.server import Server
from benchmarks.load import cells, closed_loop
from benchmarks.results import Row

NETWORKS: Final = ("zero", "g28")
# (n, connections): one connection, single samples, large requests.
LOADS: Final = ((1, 1), (1, 64), (16, 16))
WARM_UP_S: Final = 1.0

# What a row says of its layout → the contender.
Layouts = Sequence[tuple[Mapping[str, int], Ours]]


def of_processes(counts: Sequence[int]) -> Layouts:
    """Layouts with these numbers of HTTP processes."""
    return [
        ({"workers": count}, Ours(name=f"ganymede-{count}", environment={"GANYMEDE_API_WORKERS": str(count)}))
        for count in counts
    ]


def of_replicas(counts: Sequence[int]) -> Layouts:
    """One process alone, as 0 replicas, and layouts with these numbers of them."""
    return [
        ({"replicas": 0}, Ours()),
        *(({"replicas": count}, OnRay(name=f"ray-{count}", replicas=count)) for count in counts),
    ]


def measure(layouts: Layouts, networks: Sequence[str], rounds: int, duration_s: float, attempts: int) -> Iterator[Row]:
    """Measure each layout in turn, in the other direction every second round.

    Args:
        layouts: to be compared.
        networks: generators.
        rounds: measurements of each cell.
        duration_s: of each measurement.
        attempts: most measurements of a cell in a round, where the machine is not quiet.
    """
    for turn in range(rounds):
        for network in networks:
            for said, contender in layouts[:: -1 if turn % 2 else 1]:
                for row in _one(network, contender, duration_s, attempts):
                    yield {"round": turn, "network": network, **said, **row}


def _one(network: str, contender: Ours, duration_s: float, attempts: int) -> Iterator[Row]:
    setting, port = Setting(network=network), free_port()
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
    parser.add_argument("--replicas", help="numbers of replicas on Ray in their place; results go to ray.json")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="generators")
    asked = parser.parse_args(arguments)
    rounds, duration_s, attempts = (1, 1.0, 1) if asked.quick else (3, 3.0, cells.ATTEMPTS)
    counts = [int(count) for count in (asked.replicas or asked.counts).split(",")]
    layouts = of_replicas(counts) if asked.replicas else of_processes(counts)
    networks = asked.networks.split(",")
    total = rounds * len(networks) * len(layouts) * len(LOADS)
    rows = workplace.measured(measure(layouts, networks, rounds, duration_s, attempts), "HTTP processes", total)
    said = {"rounds": rounds, "duration_s": duration_s}
    path = results.write("ray" if asked.replicas else "workers", said, rows, workplace.folder(asked))
    sys.stdout.write(f"{path}\n")
