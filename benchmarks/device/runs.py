"""The stages `cost` and `ceiling`: what a run costs on the device, and how fast the device is without a service.

    cost       a run of each size: the first, the second, the others · memory of a package · a fresh thread · a load
    ceiling    plain run │ bound buffers │ pinned copies │ CUDA graph │ TF32 │ NHWC, and two sessions at a time

Shapes: B batch.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from benchmarks import gpu
from benchmarks.device import graphs
from benchmarks.device.graphs import BoundRun, Graph, Pixels, cuda_runtime
from benchmarks.device.stage import Device, Notes, elsewhere, median, timed
from benchmarks.experiments import cuda
from benchmarks.load import usage
from service.engine.config import Runtime
from service.engine.loading.batch_invariance import VerificationSpec
from service.engine.loading.instances import onnxruntime_instances

NAMES: Final = ("g28", "g64", "mnist")
MICRO: Final = 1e-6
MEBIBYTE: Final = 2**20
TICK_S: Final = 1e-3
# The service's largest batch, by default.
MAX_BATCH: Final = 64
BLOCKING_SYNC: Final = 4  # cudaDeviceScheduleBlockingSync
PIXELS: Final = [graphs.PIXELS]
FEWEST_RUNS: Final = 2
RUNS_BEFORE: Final = 4  # the third captures a CUDA graph


def measure_cost(notes: Notes) -> None:
    """Time runs of every size; weigh packages; load one beside a ticker."""
    for name in NAMES:
        if (graph := graphs.generator(name)) is None:
            notes.skip(name, "no `onnx` to make it with")
            continue
        notes.attempt(f"{name}: runs", _cost_runs, notes, graph)
        notes.attempt(f"{name}: threads", _cost_threads, notes, graph)
    heaviest = 0
    for name in notes.terms.pick((*NAMES, "planted-items"), ("mnist",)):
        found = notes.attempt(f"{name}: memory", elsewhere, memory_of, {}, name, notes.terms.device)
        if found is not None:
            notes.row("memory", package=name, **found)
            told = {key: f"{value / MEBIBYTE:.0f} MiB" for key, value in found.items() if key.endswith("bytes")}
            notes.say(f"{name}: {told}; a ticker of 1 ms waited {1e3 * found['longest_gap_s']:.0f} ms while it loaded")
            heaviest = max(heaviest, int(found["served_bytes"]))
    notes.figure("package_bytes", heaviest or None)


def _cost_runs(notes: Notes, graph: Graph) -> None:
    told = []
    for size in notes.terms.pick(tuple(2**power for power in range(11)), (1, 8)):
        feeds = graph.feeds(size)
        began_s = time.perf_counter()
        session = graphs.of_service(graph, notes.terms.device)
        open_s = time.perf_counter() - began_s
        run = partial(session.compute, feeds, PIXELS)
        first, second = timed(run, 2)
        usual = median(timed(run, notes.terms.pick(200, 2)))
        notes.row("runs", graph=graph.name, size=size, open_s=open_s, first_s=first, second_s=second, median_s=usual)
        told.append(f"{size}: {usual / MICRO:.0f}")
    notes.say(f"{graph.name}, µs a run of B: {', '.join(told)}")


def _cost_threads(notes: Notes, graph: Graph) -> None:
    """What the first run costs on a thread that has never run this session."""
    session = graphs.of_service(graph, notes.terms.device)
    feeds = graph.feeds(8)
    usual = median(timed(lambda: session.compute(feeds, PIXELS), notes.terms.pick(50, 2)))
    first: list[float] = []
    for _ in range(notes.terms.pick(3, 2)):
        thread = threading.Thread(target=lambda: first.extend(timed(lambda: session.compute(feeds, PIXELS), 1)))
        thread.start()
        thread.join()
    notes.row("threads", graph=graph.name, usual_s=usual, first_s=first)
    notes.say(f"{graph.name}: {usual / MICRO:.0f} µs, on fresh threads {[round(each / MICRO) for each in first]}")


def memory_of(name: str, device: Device) -> dict[str, float]:
    """What a package holds of the device's memory, or of this process's on the CPU.

    Returns:
        Bytes beyond those of the first small session: of one session that ran on one, two and three threads, of a
        session a size, and of what the service keeps; and the longest pause of a ticker while the service loaded it.
    """
    package = next(iter(graphs.packages((name,))))
    first = package[0]
    small = graphs.of_service(first, device)
    small.compute(first.feeds(1), first.outputs)
    found: dict[str, float] = {}
    held: list[object] = [small]

    def weighed(key: str, run: Callable[[], object]) -> None:
        before = _memory(device)
        held.append(run())
        found[key] = max(0, _memory(device) - before)

    one = graphs.of_service(first, device)

    def on_another_thread() -> None:
        thread = threading.Thread(target=lambda: held.append(one.compute(first.feeds(MAX_BATCH), first.outputs)))
        thread.start()
        thread.join()

    weighed("one_session_bytes", lambda: one.compute(first.feeds(MAX_BATCH), first.outputs))
    weighed("second_thread_bytes", on_another_thread)
    weighed("third_thread_bytes", on_another_thread)

    def session_a_size() -> list[object]:
        kept: list[object] = []
        for size in (2**power for power in range(MAX_BATCH.bit_length())):
            session = graphs.of_service(first, device)
            kept += [session, session.compute(first.feeds(size), first.outputs)]
        return kept

    weighed("session_a_size_bytes", session_a_size)
    with Ticker() as ticker:
        weighed("served_bytes", lambda: [_as_served(graph, device) for graph in package])
    return found | {"longest_gap_s": ticker.longest_s}


def _as_served(graph: Graph, device: Device) -> object:
    verification = VerificationSpec(graph.spec, graph.tolerances, MAX_BATCH, "strict")
    return onnxruntime_instances(graph.kind, Runtime(device=device), verification)


def _memory(device: Device) -> int:
    return usage.resident_bytes(os.getpid()) if device == "cpu" else gpu.memory_bytes() or 0


class Ticker:
    """A thread that wants to run every millisecond, as an event loop does.

    Attributes:
        longest_s: the longest that it had to wait.
    """

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._is_over = False
        self._thread = threading.Thread(target=self._tick)

    def __enter__(self) -> "Ticker":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over = True
        self._thread.join()

    def _tick(self) -> None:
        last_s = time.perf_counter()
        while not self._is_over:
            time.sleep(TICK_S)
            now_s = time.perf_counter()
            self.longest_s = max(self.longest_s, now_s - last_s)
            last_s = now_s


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to run a graph.

    Attributes:
        name: in tables.
        binds: whether input and output lie in buffers of the device.
        pins: whether their copies at the host are pinned.
        options: of the CUDA provider.
        environment: of the process; where there is one, it is a process of its own.
    """

    name: str
    binds: bool = False
    pins: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_a_card(self) -> bool:
        """Whether there is nothing like it on a CPU."""
        return self.pins or bool(self.options)


WAYS: Final = (
    Way(name="plain"),
    Way(name="bound", binds=True),
    Way(name="pinned", binds=True, pins=True),
    Way(name="graph", binds=True, pins=True, options={"enable_cuda_graph": "1"}),
    Way(name="nhwc", options={"prefer_nhwc": "1"}),
    Way(name="tf32", options={"use_tf32": "1"}, environment={"NVIDIA_TF32_OVERRIDE": "1"}),
)


def measure_ceiling(notes: Notes) -> None:
    """Run the timed generators in every way, as fast as they go."""
    terms = notes.terms
    sizes = terms.pick((16, 64, 256, 1024), (8,))
    seconds = terms.pick(0.4, 0.05)
    for name in NAMES:
        if graphs.folder_of(name) is None:
            notes.skip(name, "no `onnx` to make it with")
            continue
        rates: dict[str, float] = {}
        for way in WAYS:
            if way.needs_a_card and terms.device == "cpu":
                notes.skip(way.name, "no CUDA device")
                continue
            found = notes.attempt(f"{name} {way.name}", _rates, name, terms.device, way, sizes, seconds)
            for size, (rate, digest) in (found or {}).items():
                notes.row("rates", graph=name, way=way.name, size=size, samples_per_s=rate, digest=digest)
            rates[way.name] = max((rate for size, (rate, _) in (found or {}).items() if size <= MAX_BATCH), default=0)
        told = ", ".join(f"{way} {rate:,.0f}" for way, rate in rates.items())
        notes.say(f"{name}, samples/s of runs of up to {MAX_BATCH}: {told}")
        notes.figure(f"{name}_plain", rates["plain"] or None)
        notes.figure(f"{name}_graph", rates.get("graph") or None)
        _differing(notes, name)
        notes.attempt(f"{name}: two sessions", _two, notes, name, seconds)
    notes.attempt("buckets", _buckets, notes)
    for blocking in terms.pick((False, True), (False,)):
        share = notes.attempt("processor", elsewhere, processor_share, {}, "g28", terms.device, blocking, seconds)
        notes.row("processor", blocking=blocking, cores=share)
        notes.say(f"cores taken by waiting for the device, {'blocking' if blocking else 'as it comes'}: {share}")


def _rates(
    name: str, device: Device, way: Way, sizes: Sequence[int], seconds: float
) -> dict[int, tuple[float, str]]:  # fmt: skip
    if way.environment:
        return elsewhere(rates_of, way.environment, name, device, way, sizes, seconds)
    return rates_of(name, device, way, sizes, seconds)


def rates_of(
    name: str, device: Device, way: Way, sizes: Sequence[int], seconds: float
) -> dict[int, tuple[float, str]]:  # fmt: skip
    """Run a generator in one way.

    Returns:
        B → samples a second, and a hash of what it answered.
    """
    graph = graphs.generator(name)
    found: dict[int, tuple[float, str]] = {}
    for size in sizes if graph is not None else ():
        run = runner(graph, device, way, size) if graph is not None else None
        if run is not None:
            pixels = [run() for _ in range(RUNS_BEFORE)][-1]
            digest = hashlib.sha256(pixels.tobytes()).hexdigest()
            found[size] = size * _runs_per_s(run, seconds), digest
    return found


def runner(graph: Graph, device: Device, way: Way, size: int) -> Callable[[], Pixels]:
    """One run of a fixed batch, from host to host."""
    session, feeds = graphs.of_library(graph, device, way.options), graph.feeds(size)
    if way.binds:
        return BoundRun(session, feeds, device, pinned=way.pins)

    def run() -> Pixels:
        pixels: Pixels = session.run(PIXELS, feeds)[0]
        return pixels

    return run


def _runs_per_s(run: Callable[[], object], seconds: float) -> float:
    count, began_s = 0, time.perf_counter()
    while (passed_s := time.perf_counter() - began_s) < seconds or count < FEWEST_RUNS:
        run()
        count += 1
    return count / passed_s


def _differing(notes: Notes, name: str) -> None:
    """Ways that must give the bytes of a plain run, and do not."""
    rows = [row for row in notes.rows("rates") if row["graph"] == name]
    plain = {row["size"]: row["digest"] for row in rows if row["way"] == "plain"}
    exact = ("bound", "pinned", "graph")
    wrong = [
        f"{row['way']} {row['size']}" for row in rows if row["way"] in exact and row["digest"] != plain[row["size"]]
    ]
    if wrong:
        notes.say(f"{name}: OTHER BYTES than a plain run: {', '.join(wrong)}")


def _two(notes: Notes, name: str, seconds: float) -> None:
    """Two threads, each with a session of its own."""
    graph = graphs.generator(name)
    if graph is None:
        return
    size = notes.terms.pick(MAX_BATCH, 8)
    rates: list[float] = []
    runs = [runner(graph, notes.terms.device, WAYS[0], size) for _ in range(2)]
    for run in runs:
        run()
    threads = [threading.Thread(target=lambda run=run: rates.append(_runs_per_s(run, seconds))) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    notes.row("two sessions", graph=name, size=size, samples_per_s=size * sum(rates))
    notes.say(f"{name}: two sessions at a time, runs of {size}: {size * sum(rates):,.0f} samples/s")


def _buckets(notes: Notes) -> None:
    """Fixed buckets against batches as they come."""
    name = notes.terms.pick(cuda.NETWORK, "g28")
    folder = graphs.folder_of(name)
    if folder is None:
        notes.skip("buckets", "no `onnx` to make it with")
        return
    rounds, count = notes.terms.pick((3, 100), (1, 2))
    found = list(cuda.measure(str(folder / "generator.onnx"), graphs.PROVIDERS[notes.terms.device], rounds, count))
    rates = {
        way: median([float(row["samples_per_s"] or 0) for row in found if row["way"] == way])
        for way in ("buckets", "as they come")
    }
    for row in found:
        notes.row("buckets", network=name, **row)
    ratio = rates["buckets"] / rates["as they come"]
    notes.figure("buckets_of_as_they_come", ratio)
    notes.say(f"{name}, mixed sizes: buckets are {ratio:.2f} × as they come")


def processor_share(name: str, device: Device, blocking: bool, seconds: float) -> float:
    """Cores that one thread takes while it runs batches of 64 and waits for them.

    Args:
        name: of the package.
        device: to run on.
        blocking: whether the driver lets the thread sleep; this process must not have used the device before.
        seconds: to be measured.
    """
    if blocking:
        cuda_runtime().cudaSetDeviceFlags(BLOCKING_SYNC)
    graph = graphs.generator(name)
    if graph is None:
        return 0.0
    run = runner(graph, device, WAYS[0], 8 if device == "cpu" else MAX_BATCH)
    run()
    cpu_s, began_s = time.process_time(), time.perf_counter()
    _runs_per_s(run, seconds)
    return round((time.process_time() - cpu_s) / (time.perf_counter() - began_s), 2)
