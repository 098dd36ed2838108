"""Processor time of our service beyond the run of the model: a request, and a sample.

    c(n)       processor time of the server's processes for a request of n samples, under a closed loop
    r(n)       processor time of the bare run for as many samples
    c(n) − r(n) = a + b·n      a: a request, b: a sample; from n = 1 and n = 16

The cost of PNG beyond NPY is the encoder's. The run of `zero` costs almost nothing; on the other generators a and b are
differences of two large numbers, and noise of the machine counts fully. With `zero` the server is pinned to one core
and the load generator to another, which gives the rate of one core.
"""

import sys
from collections.abc import Iterator
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Server
from benchmarks.experiments import ceiling
from benchmarks.load import cells, closed_loop
from benchmarks.load.closed_loop import MICRO
from benchmarks.results import Row
from service.engine.config import usable_cores

LARGE_N: Final = 16
MANY: Final = 64
# (n, connections, format): one connection; many, with small and with large requests; many, with images.
LOADS: Final = ((1, 1, "npy"), (1, MANY, "npy"), (LARGE_N, LARGE_N, "npy"), (1, MANY, "png"))
WARM_UP_S: Final = 1.0
NETWORKS: Final = ("zero", "g28", "mnist", "g64")
SERVER_CORE, GENERATOR_CORE = 0, 1


def split(per_request_us: float, per_large_request_us: float, run_us: float) -> tuple[float, float]:
    """Separate the cost of a request from the cost of a sample.

    Args:
        per_request_us: of a request of one sample.
        per_large_request_us: of a request of `LARGE_N` samples.
        run_us: of the bare run, a sample.

    Returns:
        a and b of the module's formula, in microseconds.
    """
    per_sample_us = (per_large_request_us - per_request_us) / (LARGE_N - 1)
    return per_request_us - per_sample_us, per_sample_us - run_us


def measure(networks: tuple[str, ...], rounds: int, duration_s: float, attempts: int) -> Iterator[Row]:
    """Measure requests of both sizes, and the bare run, of each network.

    Args:
        networks: generators.
        rounds: measurements of each cell.
        duration_s: of each measurement.
        attempts: most measurements of a cell in a round, where the machine is not quiet.
    """
    for turn in range(rounds):
        for network in networks:
            yield from ({"round": turn, "network": network, **row} for row in _one(network, duration_s, attempts))


def _one(network: str, duration_s: float, attempts: int) -> Iterator[Row]:
    core = SERVER_CORE if network == "zero" and usable_cores() > 1 else None
    setting, port = Setting(network=network, core=core), free_port()
    for row in ceiling.measure(str(setting.model), "onnxruntime", (LARGE_N,), duration_s):
        if row["runners"] == row["threads"] == 1:
            yield {"what": "bare", **row}
    with Server(OURS.launch(setting, port)) as server:
        server.first_answer(OURS.work(setting, port, 1))
        generator_core = None if core is None else GENERATOR_CORE
        for n, connections, answer in LOADS:
            work = OURS.work(setting, port, n, answer)
            closed_loop.run(work, connections, WARM_UP_S, generator_core)
            row = cells.measure(cells.closed(work, connections, duration_s, generator_core), server.pid, n, attempts)
            cost = float(row["server_cpu_s"] or 0) / float(row["requests"] or 1) / MICRO
            asked: Row = {"n": n, "connections": connections, "answer": answer, "cpu_us_per_request": cost}
            yield {"what": "request", **asked, **row}


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("overhead", __doc__)
    parser.add_argument("--networks", default=",".join(NETWORKS))
    asked = parser.parse_args(arguments)
    rounds, duration_s, attempts = (1, 1.0, 1) if asked.quick else (3, 3.0, cells.ATTEMPTS)
    networks = tuple(asked.networks.split(","))
    rows = workplace.measured(
        measure(networks, rounds, duration_s, attempts), "overhead", rounds * len(networks) * (1 + len(LOADS))
    )
    path = results.write("overhead", {"rounds": rounds, "duration_s": duration_s}, rows, workplace.folder(asked))
    sys.stdout.write(f"{path}\n")
