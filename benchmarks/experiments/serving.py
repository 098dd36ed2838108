"""The main experiment: the ceiling, our service and the peers in turn, on the same ONNX files and the same machine.

    round 1   g28: ceiling · ganymede · mosec · litserve     g64: …     mnist: …
    round 2   g28: ceiling · mosec · litserve · ganymede     …          (another one first each time)

Each server runs alone, is started for each round, checked for correct responses, and warmed up. Closed loops of 1 to
64 connections measure throughput, constant rates of 50 % and 80 % of the ceiling measure latency. Results are written
after every round, so that an interrupted run keeps them.
"""

import os
import sys
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Final

import numpy as np

from benchmarks import results, workplace
from benchmarks.contenders import environments
from benchmarks.contenders.bare import BACKENDS, Backend
from benchmarks.contenders.contenders import DEFAULT_PEERS, OURS, PEERS_BY_NAME, Ours, Peer, Setting, free_port
from benchmarks.contenders.server import Server, ask
from benchmarks.experiments import ceiling
from benchmarks.load import cells, closed_loop
from benchmarks.load.closed_loop import LoadFailed, Work
from benchmarks.results import Row
from service.engine.config import usable_cores
from training.progress import progress

WARM_UP_S: Final = 1.0
MANY: Final = 64  # connections: as many as the largest batch has samples
LARGE_N: Final = 16
# Constant rates, as shares of the ceiling: moderate and high load.
RATES: Final = (0.5, 0.8)
NETWORKS: Final = ("g28", "g64", "mnist")
# Samples of a peer's largest batch, which is set in requests; larger ones only cost memory.
PEER_BATCH_SAMPLES: Final = 32
FRAMING_BYTES: Final = 1024  # around the pixels: NPY's header is 128, Triton's JSON some 200


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One load on one server.

    Attributes:
        loop: `closed`, or `open` (a constant rate).
        n: samples of one request.
        connections: of a closed loop.
        answer: `npy`, `json` or `png`; peers always return raw bytes.
        rate_share: rate of an open loop, as a share of the ceiling.
    """

    loop: str
    n: int
    connections: int = 0
    answer: str = "npy"
    rate_share: float = 0.0


SINGLE: Final = (Cell(loop="closed", n=1, connections=1),)
SINGLES: Final = (Cell(loop="closed", n=1, connections=8), Cell(loop="closed", n=1, connections=MANY))
RATED: Final = tuple(Cell(loop="open", n=1, rate_share=share) for share in RATES)
LARGE: Final = (Cell(loop="closed", n=LARGE_N, connections=LARGE_N),)
FORMS: Final = tuple(
    Cell(loop="closed", n=n, connections=LARGE_N, answer=answer) for n in (1, LARGE_N) for answer in ("json", "png")
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Durations and repetitions.

    Attributes:
        rounds: measurements of each cell.
        cell_s: seconds of one measurement.
        ceiling_s: seconds of one measurement of the ceiling.
        attempts: most measurements of a cell in a round, where the machine is not quiet.
        batches: of the ceiling.
    """

    rounds: int
    cell_s: float
    ceiling_s: float
    attempts: int
    batches: tuple[int, ...]


FULL: Final = Plan(rounds=3, cell_s=3.0, ceiling_s=0.6, attempts=cells.ATTEMPTS, batches=ceiling.BATCHES)
QUICK: Final = Plan(rounds=1, cell_s=1.0, ceiling_s=0.2, attempts=1, batches=ceiling.QUICK_BATCHES)


def stages(contender: Ours | Peer, network: str, cores: int) -> Iterator[tuple[Setting, tuple[Cell, ...]]]:
    """The starts of a contender, and the cells measured in each.

    Ours is started once, with its defaults. A peer is started for each kind of load with its best layout: one worker
    with all threads for one connection, one single-threaded worker a core under load.
    """
    rated = RATED if network == "g28" else ()
    if isinstance(contender, Ours):
        yield Setting(network=network), (*SINGLE, *SINGLES, *rated, *LARGE, *(FORMS if contender is OURS else ()))
        return
    yield Setting(network=network, workers=1, threads=cores), SINGLE
    yield Setting(network=network, workers=cores, batch=PEER_BATCH_SAMPLES), (*SINGLES, *rated)
    yield Setting(network=network, workers=cores, batch=PEER_BATCH_SAMPLES // LARGE_N), LARGE


def check(work: Work, pixels: tuple[int, ...]) -> None:
    """Check that responses have all samples, repeat for the same seed and differ for another one.

    Raises:
        LoadFailed: they do not.
    """
    first, again, other = ask(work, 0), ask(work, 0), ask(work, 1)
    whole = bytes(work.n * int(np.prod(pixels)))
    expected = len(b64encode(whole) if work.in_base64 else whole)
    if not 0 <= len(first) - expected <= FRAMING_BYTES:
        raise LoadFailed(f"{work.url} answered {len(first)} bytes for {work.n} samples of {pixels}")
    if first != again or first == other:
        raise LoadFailed(f"{work.url} answered something that does not follow from the seed")


def serve(contender: Ours | Peer, network: str, top: float, plan: Plan) -> Iterator[Row]:
    """Start a contender and measure all its cells.

    Args:
        contender: our service or a peer.
        network: generator.
        top: the ceiling of this round, in samples a second.
        plan: durations and attempts.
    """
    shape = np.load(Setting(network=network).folder / "golden.npz")["generator.pixels"].shape[1:]
    for setting, wanted in stages(contender, network, usable_cores()):
        port = free_port()
        with Server(contender.launch(setting, port)) as server:
            server.first_answer(contender.work(setting, port, 1))
            check(contender.work(setting, port, LARGE_N), shape)
            closed_loop.run(contender.work(setting, port, 1), MANY, WARM_UP_S)
            for cell in wanted:
                work = contender.work(setting, port, cell.n, cell.answer)
                rate = top * cell.rate_share / cell.n
                load = (
                    cells.constant(work, rate, plan.cell_s)
                    if cell.loop == "open"
                    else cells.closed(work, cell.connections, plan.cell_s)
                )
                yield {"contender": contender.name, **asdict(cell), **_measured(load, server.pid, cell, plan)}


def _measured(load: cells.Loading, pid: int, cell: Cell, plan: Plan) -> Row:
    """One cell; a server that does not keep a constant rate has no times, which is a result and no error."""
    try:
        return {"kept": True, **cells.measure(load, pid, cell.n, plan.attempts)}
    except LoadFailed:
        if cell.loop == "closed":
            raise
        return {"kept": False}


def in_turn(contenders: list[Ours | Peer], turn: int) -> list[Ours | Peer]:
    """The contenders, rotated by the round."""
    first = turn % len(contenders)
    return contenders[first:] + contenders[:first]


def measure(
    networks: tuple[str, ...], peers: list[Peer], backends: tuple[Backend, ...], plan: Plan
) -> Iterator[list[Row]]:
    """Measure everything.

    Args:
        networks: generators; the peers serve only the fixed ones, not the shipped ones.
        peers: beside our service.
        backends: of our service, beside ONNX Runtime.
        plan: durations and repetitions.

    Yields:
        The rows of one network in one round.
    """
    variants = [Ours(name=f"ganymede {each}", environment=SETTINGS[each]) for each in backends]
    for turn in range(plan.rounds):
        for network in networks:
            rows: list[Row] = []
            for backend in ("onnxruntime", *backends):
                model = str(Setting(network=network).model)
                found = list(ceiling.measure(model, backend, plan.batches, plan.ceiling_s))
                rows += [{"contender": f"ceiling {backend}", **row} for row in found]
            top = ceiling.best([row for row in rows if row["backend"] == "onnxruntime"])
            others = [] if network == "mnist" else peers
            for contender in in_turn([OURS, *variants, *others], turn):
                rows += serve(contender, network, top, plan)
            yield [{"network": network, "round": turn, **row} for row in rows]


# Settings of each variant of our service.
SETTINGS: Final[dict[Backend, dict[str, str]]] = {
    "openvino": {"GANYMEDE_BACKEND": "openvino"},
    "openvino-bf16": {"GANYMEDE_BACKEND": "openvino", "GANYMEDE_PRECISION": "bf16"},
}


def main(arguments: list[str]) -> None:
    """Measure, and write after each network of each round."""
    parser = workplace.parser("serving", __doc__)
    parser.add_argument(
        "--peers",
        default=os.environ.get("PEERS", ",".join(DEFAULT_PEERS)),
        help=f"of {', '.join(PEERS_BY_NAME)}, or empty",
    )
    parser.add_argument("--networks", default=",".join(NETWORKS), help="of " + ", ".join((*NETWORKS, "zero")))
    parser.add_argument(
        "--backends",
        default="openvino" if find_spec("openvino") else "",
        help="beside onnxruntime, of " + ", ".join(BACKENDS[1:]),
    )
    asked = parser.parse_args(arguments)
    peers = [PEERS_BY_NAME[name] for name in asked.peers.split(",") if name]
    backends = tuple(backend for backend in BACKENDS if backend in asked.backends.split(","))
    for peer in peers:
        environments.install(peer)
    plan = QUICK if asked.quick else FULL
    settings = {**asdict(plan), "peers": {peer.name: environments.versions(peer) for peer in peers}}
    rows: list[Row] = []
    networks = tuple(asked.networks.split(","))
    parts = progress(measure(networks, peers, backends, plan), "serving", plan.rounds * len(networks), "network")
    for part in parts:
        rows += part
        path = results.write("serving", settings, rows, workplace.folder(asked))
        noisy = sum(row.get("quiet") is False for row in part)
        sys.stdout.write(f"{part[0]['network']}, round {part[0]['round']}: {len(part)} cells, {noisy} noisy → {path}\n")
