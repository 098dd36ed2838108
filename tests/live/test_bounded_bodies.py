"""The cost of one request is bounded in time and memory, for any value at every place of every body.

The places are the OpenAPI document's. While a body is parsed and refused, other requests are answered. Limits are
several times the observed values, for busy machines; unbounded costs would be minutes and gigabytes.
"""

import gzip
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.hostile_bodies import FILLERS, JSON, Place, json_bodies, list_at, object_at, places
from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package

MEBIBYTE = 2**20
# A little under the limit of a body.
SIZE = 15 * MEBIBYTE
# Enough to detect a missing bound, where there are many places.
FEW = 3 * MEBIBYTE
MAX_S = 3.0
MAX_SILENCE_S = 1.0
MAX_BYTES = 80 * MEBIBYTE


pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceProcess]:
    """A separate service, because its memory is measured."""
    folder = tmp_path_factory.mktemp("bounded") / "models"
    write_toy_package(folder, "toy", 1)
    write_toy_package(folder, "ring", kind="vector")
    with ServiceProcess(folder) as process:
        yield process.loaded()


class Watch:
    """Time and memory of a process while it answers a request."""

    def __init__(self, process: ServiceProcess) -> None:
        parent = Path(f"/proc/{process.pid}")
        children = (parent / "task" / parent.name / "children").read_text().split()
        self._processes = [parent, *(Path("/proc", child) for child in children)]
        self._process = process
        self.silences: list[float] = []

    def memory(self, key: str) -> int:
        """Add up VmRSS or VmHWM of all processes, in bytes."""
        lines = [line for each in self._processes for line in (each / "status").read_text().splitlines()]
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

    @contextmanager
    def holds(self, what: object) -> Iterator[None]:
        """Compare the cost with the limits."""
        for each in self._processes:
            (each / "clear_refs").write_text("5")
        before, began = self.memory("VmRSS"), time.monotonic()
        with self._asking():
            yield
        took_s, grown = time.monotonic() - began, self.memory("VmHWM") - before
        assert took_s < MAX_S, f"{what}: {took_s:.1f} s"
        assert grown < MAX_BYTES, f"{what}: {grown / MEBIBYTE:.0f} MiB"
        assert max(self.silences) < MAX_SILENCE_S, f"{what}: silent for {max(self.silences):.1f} s"

    @contextmanager
    def _asking(self) -> Iterator[None]:
        self.silences = []
        done = threading.Event()

        def ask() -> None:
            with self._process.client() as client:
                while not (self.silences and done.wait(0.01)):
                    began = time.monotonic()
                    client.get("/healthz")
                    self.silences.append(time.monotonic() - began)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            yield
        finally:
            done.set()
            asking.join()


def post(client: httpx.Client, path: str, body: bytes, **headers: str) -> httpx.Response:
    return client.post(path, content=body, headers={"content-type": JSON} | headers)


@pytest.mark.slow
def test_no_body_costs_much_whatever_stands_at_any_of_its_places(bounded: ServiceProcess) -> None:
    watch = Watch(bounded)
    with bounded.client() as client:
        document = client.get("/openapi.json").json()
        known: set[tuple[str, Place]] = set()
        kinds = itertools.cycle([*FILLERS, "fields"])
        for path, schema in json_bodies(document):
            url = path.format(name="toy", version=1)
            for place in sorted(places(schema, document)):
                if (schema["$ref"], place) in known:
                    continue
                known.add((schema["$ref"], place))
                kind = next(kinds)
                body = object_at(place, FEW) if kind == "fields" else list_at(place, FILLERS[kind], FEW)
                with watch.holds((url, place, kind)):
                    answer = post(client, url, body)
                assert 400 <= answer.status_code < 500
        assert len(known) > 60


@pytest.mark.parametrize("kind", [*FILLERS, "fields"])
def test_no_kind_of_value_costs_much(bounded: ServiceProcess, kind: str) -> None:
    watch = Watch(bounded)
    with bounded.client() as client:
        for path, field in (("/generate", "seeds"), ("/score", "images"), ("/v2/models/toy/infer", "inputs")):
            body = object_at((field,), SIZE) if kind == "fields" else list_at((field,), FILLERS[kind], SIZE)
            with watch.holds((path, kind)):
                answer = post(client, path, body)
            assert 400 <= answer.status_code < 500


@pytest.mark.parametrize("kind", ["objects", "integers", "lists"])
def test_a_kilobyte_that_unpacks_to_megabytes_costs_no_more(bounded: ServiceProcess, kind: str) -> None:
    body = gzip.compress(list_at(("inputs",), FILLERS[kind], SIZE))
    assert len(body) < 32 * 1024
    with bounded.client() as client, Watch(bounded).holds(kind):
        answer = post(client, "/v2/models/toy/infer", body, **{"content-encoding": "gzip"})
    assert answer.status_code == 413


def test_seeds_in_a_string_cost_no_more_than_in_a_list(bounded: ServiceProcess) -> None:
    body = b'{"seeds":"' + b"1," * (SIZE // 2) + b'1"}'
    with bounded.client() as client, Watch(bounded).holds("seeds"):
        answer = post(client, "/generate", body)
    assert "At most 4096 samples" in answer.json()["detail"]


def test_an_address_of_many_parameters_costs_little(bounded: ServiceProcess) -> None:
    query = "&".join(f"{number:x}" for number in range(6_000))
    with bounded.client() as client:
        for path in ("/generate", "/score", "/reconstruct"):
            assert client.post(f"{path}?{query}").json()["errors"][0]["loc"] == ["query"]
        answer = client.get(f"/models/toy/versions/1/samples/7.png?{query}")
        assert (answer.status_code, len(answer.json()["errors"])) == (422, 1)


def test_a_large_body_that_is_valid_is_read_without_holding_others_up(bounded: ServiceProcess) -> None:
    row = b"[" + b",".join([b"0.12345678901234567"] * 64) + b"]"
    body = b'{"samples":[' + b",".join([row] * 1_024) + b"]}"
    with bounded.client() as client, Watch(bounded).holds("samples"):
        assert len(post(client, "/score", body).json()["scores"]) == 1_024


@pytest.mark.slow
def test_in_several_processes_it_costs_no_more(tmp_path: Path) -> None:
    write_toy_package(tmp_path / "models", "toy", 1)
    packed = gzip.compress(list_at(("inputs",), FILLERS["objects"], SIZE))
    with ServiceProcess(tmp_path / "models", api_workers=2) as process, process.loaded().client() as client:
        client.post("/generate")
        for path, body, coding in (
            ("/v2/models/toy/infer", packed, {"content-encoding": "gzip"}),
            ("/generate", object_at((), SIZE), {}),
            ("/score", list_at(("images",), FILLERS["integers"], SIZE), {}),
        ):
            with Watch(process).holds(path):
                answer = post(client, path, body, **coding)
            assert 400 <= answer.status_code < 500


def test_an_image_in_base64_takes_little_more_than_its_characters(bounded: ServiceProcess) -> None:
    characters = b"A" * (SIZE // 4 * 4 - 1)
    with bounded.client() as client:
        for prefix in (b"", b"data:image/png;base64,"):
            with Watch(bounded).holds(prefix):
                answer = post(client, "/score", b'{"images":["' + prefix + characters + b'"]}')
            assert "base64" in answer.json()["detail"]
