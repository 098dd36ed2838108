"""Time from the start of the process to the first response, and memory after it, with the shipped packages.

    first    the default package alone, the vetting cache is empty: the graphs are vetted
    again    the same, with the result of the vetting in the cache
    all      every shipped package, the default first, vetted before; until none is loading

The client tries every 20 ms. The size of the container image is reported where one was built.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks import results, workplace
from benchmarks.contenders.contenders import OURS, Setting, free_port
from benchmarks.contenders.server import Caller, Server
from benchmarks.load import usage
from benchmarks.load.closed_loop import LoadFailed
from benchmarks.results import Row

NETWORK: Final = "mnist"
IMAGE: Final = "ganymede:latest"  # as docker-compose.yml names it
ALL: Final = {"GANYMEDE_LOAD_MODELS": ""}
DOCKER_TIMEOUT_S: Final = 10.0


def measure(rounds: int) -> Iterator[Row]:
    """In each round start the service with an empty cache, then with the cache that this start wrote; then with all."""
    with tempfile.TemporaryDirectory() as vetted:
        _start(Path(vetted), ALL)
        for turn in range(rounds):
            with tempfile.TemporaryDirectory() as cache:
                for what in ("first", "again"):
                    yield {"round": turn, "what": what, **_start(Path(cache), {})}
            yield {"round": turn, "what": "all", **_start(Path(vetted), ALL)}


def _start(cache: Path, environment: Mapping[str, str]) -> Row:
    setting, port = Setting(network=NETWORK, environment={"GANYMEDE_CACHE_DIR": str(cache), **environment}), free_port()
    before = usage.read(None)
    with Server(OURS.launch(setting, port)) as server:
        _, seconds = server.first_answer(OURS.work(setting, port, 1))
        _, ready_s = server.until(lambda: _all_ready(port))
        pids = usage.family(server.pid)
        after = usage.read(server.pid)
        return {
            "first_sample_s": seconds,
            "all_ready_s": ready_s,
            "foreign_cores": usage.between(before, after, 0.0).foreign,
            "server_cpu_s": after.server_s,
            "rss_bytes": sum(usage.resident_bytes(pid) for pid in pids),
            "pss_bytes": usage.memory_bytes(server.pid),
            "processes": len(pids),
        }


def _all_ready(port: int) -> bytes:
    """What `/readyz` says, once no package is loading.

    Raises:
        LoadFailed: one is.
    """
    with Caller(port) as caller:
        told = caller.get("/readyz")
    if json.loads(told)["packages"]["loading"]:
        raise LoadFailed("packages are being loaded")
    return told


def image_bytes(image: str = IMAGE) -> int | None:
    """Size of the service's container image; None where there is no docker or no such image."""
    docker = shutil.which("docker")
    if docker is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - the harness's own command
            [docker, "image", "inspect", "--format", "{{.Size}}", image],
            check=True, capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return int(done.stdout)


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("start", __doc__)
    parser.add_argument("--image", default=IMAGE, help="name of the container image")
    asked = parser.parse_args(arguments)
    rounds = 1 if asked.quick else 5
    rows: list[Row] = workplace.measured(measure(rounds), "starts", 3 * rounds)
    rows.append({"what": "image", "bytes": image_bytes(asked.image)})
    sys.stdout.write(
        f"{results.write('start', {'network': NETWORK, 'rounds': rounds}, rows, workplace.folder(asked))}\n"
    )
