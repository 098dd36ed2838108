"""50,000 samples in one request take constant memory, and other requests are served at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.serving import ServiceProcess

SAMPLES = 50_000
BUDGET_BYTES = 64 * 10**6
OTHERS = {"model": "toy", "version": 1, "seed": 7, "n": 4}


class Memory:
    """Memory of a process: current, and peak since the last reset."""

    def __init__(self, process: ServiceProcess) -> None:
        self._folder = Path(f"/proc/{process.wait_for('listening')['pid']}")

    def now_bytes(self) -> int:
        return self._field("VmRSS")

    def peak_bytes(self) -> int:
        return self._field("VmHWM")

    def forget_the_peak(self) -> None:
        (self._folder / "clear_refs").write_text("5")

    def _field(self, name: str) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        (kibibytes,) = [line.split()[1] for line in lines if line.startswith(f"{name}:")]
        return int(kibibytes) * 1024


@contextmanager
def somebody_else(process: ServiceProcess) -> Iterator[list[bytes]]:
    """Repeat a small request; yields its responses."""
    answers: list[bytes] = []
    done = threading.Event()

    def ask() -> None:
        with process.client() as client:
            while not done.is_set():
                answers.append(client.post("/generate?format=npy", json=OTHERS).content)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        done.set()
        asking.join()


@pytest.fixture(scope="module")
def roomy(models_dir: Path) -> Iterator[ServiceProcess]:
    """A separate service, because its memory is measured."""
    with ServiceProcess(models_dir, load_models="toy,classes,large") as process:
        yield process.loaded()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "query", "count", "least_bytes"),
    [
        ("toy", "format=npy", SAMPLES, SAMPLES * 8 * 8),
        ("classes", "format=zip", SAMPLES, SAMPLES * 8 * 8),
        ("large", "format=npy&dtype=float32", 1500, 1500 * 72 * 72 * 3 * 4),  # large samples make shorter chunks
    ],
)
def test_a_long_stream_stays_within_its_memory_and_holds_up_nobody(
    roomy: ServiceProcess, model: str, query: str, count: int, least_bytes: int
) -> None:
    body = {"model": model, "seed": 0, "n": count}
    with roomy.client() as client:
        alone = client.post("/generate?format=npy", json=OTHERS).content
        client.post(f"/generate?{query}", json=body | {"n": 64})
        memory = Memory(roomy)
        idle = memory.now_bytes()
        memory.forget_the_peak()
        with somebody_else(roomy) as answers, client.stream("POST", f"/generate?{query}", json=body) as answer:
            received = sum(map(len, answer.iter_raw()))
    assert answer.status_code == 200
    assert received > least_bytes
    assert memory.peak_bytes() - idle < BUDGET_BYTES
    assert len(answers) > 10
    assert set(answers) == {alone}
