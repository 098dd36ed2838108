"""The ceiling: samples a second of the bare runtime in this process, by the fastest layout and batch size.

    R runners in R threads, each with T threads inside a run, each running the same batch repeatedly

Latents are drawn beforehand, and only `pixels` is fetched, as a server does.
"""

import threading
import time
from collections.abc import Iterator

from benchmarks.contenders import bare
from benchmarks.contenders.bare import Backend, Inputs, Run
from benchmarks.load import usage
from benchmarks.load.cells import ATTEMPTS, FOREIGN_LIMIT
from benchmarks.load.closed_loop import MICRO
from benchmarks.results import Row
from service.engine.config import usable_cores

BATCHES = (1, 4, 16, 64)
QUICK_BATCHES = (1, 16)
WARM_UP_RUNS = 3


def layouts(cores: int) -> Iterator[tuple[int, int]]:
    """(Runners, threads of each): one single-threaded runner, one on all cores, one single-threaded runner a core."""
    yield 1, 1
    if cores > 1:
        yield 1, cores
        yield cores, 1


def measure(model: str, backend: Backend, batches: tuple[int, ...], duration_s: float) -> Iterator[Row]:
    """Run every layout with every batch.

    Args:
        model: path of the graph.
        backend: library and precision.
        batches: sizes.
        duration_s: of each measurement.

    Yields:
        Layout, batch, samples a second, processor time of a sample, and the foreign load.
    """
    for count, threads in layouts(usable_cores()):
        runs = bare.runners(model, threads, count, backend)
        for batch in batches:
            inputs = bare.inputs_of(model, batch)
            tried: list[Row] = []
            while len(tried) < ATTEMPTS and not (tried and tried[-1]["quiet"]):
                tried.append(_saturate(runs, inputs, batch, duration_s))
            quietest = min(tried, key=lambda row: float(row["foreign_cores"] or 0))
            yield {"backend": backend, "runners": count, "threads": threads, "batch": batch, **quietest}


def best(rows: list[Row]) -> float:
    """Samples a second of the fastest row."""
    return max(float(row["samples_per_s"] or 0) for row in rows)


def _saturate(runs: list[Run], inputs: Inputs, batch: int, duration_s: float) -> Row:
    """Keep every runner busy for a time."""
    counts = [0] * len(runs)
    for run in runs:
        for _ in range(WARM_UP_RUNS):
            run(inputs)
    end_s = time.monotonic() + duration_s

    def work(place: int) -> None:
        while time.monotonic() < end_s:
            runs[place](inputs)
            counts[place] += 1

    before, cpu_s = usage.read(None), time.process_time()
    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    cpu_s = time.process_time() - cpu_s
    used = usage.between(before, usage.read(None), cpu_s)
    samples = sum(counts) * batch
    return {
        "samples_per_s": samples / used.wall_s,
        "cpu_us_per_sample": cpu_s / samples / MICRO,
        "foreign_cores": used.foreign,
        "quiet": used.foreign <= FOREIGN_LIMIT,
    }
