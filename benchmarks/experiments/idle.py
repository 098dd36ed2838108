"""Latency on one connection, beyond the run of the model.

    back to back   the next request as soon as the response is complete
    now and then   one request every 20 ms

A processor that was idle for milliseconds runs the same graph slower (cold caches, a lower clock), so the bare run
sleeps between two runs for as long as a server waits between two requests. Peers have one worker with all threads,
which is best for one connection.
"""

import os
import sys
import time
from collections.abc import Iterator
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders import bare, environments
from benchmarks.contenders.contenders import DEFAULT_PEERS, OURS, PEERS_BY_NAME, Ours, Peer, Setting, free_port
from benchmarks.contenders.server import Server
from benchmarks.experiments.serving import in_turn
from benchmarks.load import cells, closed_loop, usage
from benchmarks.load.open_loop import load_of
from benchmarks.results import Row
from service.engine.config import usable_cores

NETWORK: Final = "g28"
# From a response to the next request on one connection: load generator, kernel, server.
BACK_TO_BACK_S: Final = 0.0002
NOW_AND_THEN_S: Final = 0.02
RHYTHMS: Final = {"back to back": BACK_TO_BACK_S, "now and then": NOW_AND_THEN_S}


def bare_run(model: str, threads: int, pause_s: float, duration_s: float) -> closed_loop.Load:
    """Time single runs with a pause between them.

    Args:
        model: path of the graph.
        threads: intra-op threads.
        pause_s: seconds of sleep between two runs.
        duration_s: of the measurement.

    Returns:
        The load, with runs in place of requests.
    """
    (run,) = bare.runners(model, threads, 1)
    inputs = bare.inputs_of(model, 1)
    run(inputs)
    times, began_s, cpu_s = [], time.monotonic(), time.process_time()
    while (start_s := time.monotonic()) - began_s < duration_s:
        run(inputs)
        times.append(time.monotonic() - start_s)
        time.sleep(pause_s)
    return load_of(times, time.monotonic() - began_s, time.process_time() - cpu_s)


def measure(peers: list[Peer], rounds: int, duration_s: float, attempts: int) -> Iterator[Row]:
    """Time the bare run and every contender, in turn, in both rhythms.

    Args:
        peers: beside our service.
        rounds: measurements of each cell.
        duration_s: of each measurement.
        attempts: most measurements of a cell in a round, where the machine is not quiet.
    """
    cores = usable_cores()
    model = str(Setting(network=NETWORK).model)
    for turn in range(rounds):
        for threads in sorted({1, cores}):
            for rhythm, pause_s in RHYTHMS.items():

                def load(threads: int = threads, pause_s: float = pause_s) -> closed_loop.Load:
                    return bare_run(model, threads, pause_s, duration_s)

                row = cells.measure(load, None, 1, attempts)
                yield {"round": turn, "contender": "bare run", "threads": threads, "rhythm": rhythm, **row}
        for contender in in_turn([OURS, *peers], turn):
            for rhythm, row in _one_connection(contender, cores, duration_s, attempts):
                yield {"round": turn, "contender": contender.name, "threads": cores, "rhythm": rhythm, **row}


def _one_connection(contender: Ours | Peer, cores: int, duration_s: float, attempts: int) -> Iterator[tuple[str, Row]]:
    setting, port = Setting(network=NETWORK, threads=cores), free_port()
    with Server(contender.launch(setting, port)) as server:
        work = contender.work(setting, port, 1)
        server.first_answer(work)
        closed_loop.run(work, 1, 1)
        loads = (cells.closed(work, 1, duration_s), cells.constant(work, 1 / NOW_AND_THEN_S, duration_s))
        for rhythm, load in zip(RHYTHMS, loads, strict=True):
            before_bytes = usage.memory_bytes(server.pid)
            yield rhythm, {"memory_bytes": before_bytes, **cells.measure(load, server.pid, 1, attempts)}


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("idle", __doc__)
    parser.add_argument(
        "--peers",
        default=os.environ.get("PEERS", ",".join(DEFAULT_PEERS)),
        help=f"of {', '.join(PEERS_BY_NAME)}, or empty",
    )
    asked = parser.parse_args(arguments)
    peers = [PEERS_BY_NAME[name] for name in asked.peers.split(",") if name]
    for peer in peers:
        environments.install(peer)
    rounds, duration_s, attempts = (1, 1.0, 1) if asked.quick else (3, 3.0, cells.ATTEMPTS)
    each = len({1, usable_cores()}) + 1 + len(peers)
    rows = workplace.measured(
        measure(peers, rounds, duration_s, attempts), "one connection", rounds * each * len(RHYTHMS)
    )
    settings = {"network": NETWORK, "rounds": rounds, "duration_s": duration_s}
    sys.stdout.write(f"{results.write('idle', settings, rows, workplace.folder(asked))}\n")
