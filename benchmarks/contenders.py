"""Who is measured: our service and the servers that a user would otherwise take, each with its best configuration.

    contender = a name · an environment · how it is started · what a request to it looks like

All serve the same ONNX file, draw each sample's latent from its own seed, and answer raw pixels (ours inside NPY). A
peer is started for the cell that is measured: one model worker a core with one thread each under load, and one worker
with all threads for a lone caller, whichever is best there; nobody waits for a batch to fill. Ours has its defaults.

It knows what each server is called and takes, and nothing of how it is measured.
"""

import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import packages
from benchmarks.closed_loop import Work, json_work
from benchmarks.server import HOST, Launch
from benchmarks.workplace import LOGS, PEERS, ROOT

SHIPPED: Final = {"mnist": ROOT / "models" / "mnist"}
SCRIPTS: Final = ROOT / "benchmarks" / "peers"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One start of one contender.

    Attributes:
        network: which generator: `g28`, `g64`, `zero`, `mnist`.
        workers: model workers, of those who have them.
        threads: of each.
        batch: most requests that they batch.
        core: that all of it is confined to; None leaves it all.
        environment: beside what the contender needs.
    """

    network: str
    workers: int = 1
    threads: int = 1
    batch: int = 1
    core: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The network's package; of a shipped one the newest version."""
        if self.network not in SHIPPED:
            return packages.folder_of(self.network)
        versions = (path for path in SHIPPED[self.network].iterdir() if path.name.isdecimal())
        return max(versions, key=lambda path: int(path.name))

    @property
    def model(self) -> Path:
        """Its ONNX file."""
        return self.folder / "generator.onnx"


@dataclass(frozen=True, kw_only=True)
class Ours:
    """Our service, with its defaults.

    Attributes:
        name: of the contender.
        environment: settings that make it another contender, such as its backend.
    """

    name: str = "ganymede"
    environment: Mapping[str, str] = field(default_factory=dict)

    def launch(self, setting: Setting, port: int) -> Launch:
        """How it is started."""
        models = setting.folder.parents[1]
        environment = {
            "GANYMEDE_MODELS_DIR": str(models),
            "GANYMEDE_DEFAULT_MODEL": setting.network,
            "GANYMEDE_LOAD_MODELS": setting.network,
            "GANYMEDE_PORT": str(port),
        }
        return Launch(
            command=[sys.executable, "-m", "service"],
            environment=environment | dict(self.environment) | dict(setting.environment),
            log=LOGS / f"{self.name}.log",
            core=setting.core,
        )

    def work(self, setting: Setting, port: int, n: int, answer: str = "npy") -> Work:
        """What it is asked."""
        return json_work(f"http://{HOST}:{port}/generate?format={answer}", n, model=setting.network)


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another server, in an environment of its own.

    Attributes:
        name: of its package.
        requirements: of its environment, beside ONNX Runtime.
        path: of the request.
        script: that serves, by its path among the peers'.
        ask: from an address and n to what the server is asked.
    """

    name: str
    requirements: tuple[str, ...]
    path: str
    script: str
    ask: Callable[[str, int], Work] = json_work

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return PEERS / self.name

    def launch(self, setting: Setting, port: int) -> Launch:
        """How it is started."""
        told = {"MODEL": str(setting.model), "THREADS": setting.threads, "WORKERS": setting.workers, "PORT": port}
        environment = {f"BENCH_{name}": str(value) for name, value in (told | {"BATCH": setting.batch}).items()}
        # Triton embeds the interpreter that the linker finds; it must be the one whose packages it is given.
        environment["LD_LIBRARY_PATH"] = sysconfig.get_config_var("LIBDIR") or ""
        return Launch(
            command=[str(self.environment / "bin" / "python"), str(SCRIPTS / self.script)],
            environment=environment | dict(setting.environment),
            log=LOGS / f"{self.name}.log",
            core=setting.core,
        )

    def work(self, setting: Setting, port: int, n: int, answer: str = "npy") -> Work:
        """What it is asked; the answer is raw bytes."""
        return self.ask(f"http://{HOST}:{port}{self.path}", n)


def triton_work(url: str, n: int) -> Work:
    """Ask in the Open Inference Protocol, with JSON in and Triton's binary data out."""
    tensor = '{"name": "%s", "datatype": "INT64", "shape": [1, 1], "data": ['
    outputs = '"outputs": [{"name": "pixels", "parameters": {"binary_data": true}}]'
    head = f'{{{outputs}, "inputs": [{tensor % "count"}{n}]}}, {tensor % "first"}'
    return Work(url=url, n=n, head=head, tail="]}]}")


OURS: Final = Ours()
PEERS_BY_NAME: Final = {
    peer.name: peer
    for peer in (
        Peer(name="mosec", requirements=("mosec",), path="/inference", script="serve_mosec.py"),
        Peer(name="litserve", requirements=("litserve", "uvloop"), path="/predict", script="serve_litserve.py"),
        Peer(
            name="pytriton",
            requirements=("nvidia-pytriton",),
            path="/v2/models/generator/infer",
            script="serve_pytriton.py",
            ask=triton_work,
        ),
    )
}
DEFAULT_PEERS: Final = ("mosec", "litserve")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
