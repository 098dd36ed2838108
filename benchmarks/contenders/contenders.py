"""Who is measured: our service and the servers that a user would otherwise take, each with its best configuration.

    contender = a name · an environment · how it is started · what a request to it looks like

All serve the same ONNX file, draw each sample's latent from its own seed, and answer the pixels' bytes (ours in NPY,
MLServer's in base64). A peer is started for the cell that is measured: one model worker a core with one thread each
under load, and one worker with all threads for a lone caller, whichever is best there; nobody waits for a batch to
fill, or the least that it can. Ours has its defaults.

It knows what each server is called and takes, and nothing of how it is measured.
"""

import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.contenders import packages
from benchmarks.contenders.server import HOST, Launch
from benchmarks.load.closed_loop import Work, json_work
from benchmarks.workplace import LOGS, PEERS, ROOT

SHIPPED: Final = {"mnist": ROOT / "models" / "mnist"}
SCRIPTS: Final = ROOT / "benchmarks" / "contenders" / "peers"


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
        requirements: of its environment, beside ONNX Runtime; its own package is the first.
        path: of the request.
        script: that serves, by its path among the peers'.
        ask: from an address and n to what the server is asked.
        variables: of its processes' environment, beside what it is told.
    """

    name: str
    requirements: tuple[str, ...]
    path: str
    script: str
    ask: Callable[[str, int], Work] = json_work
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> Path:
        """Its virtual environment."""
        return PEERS / self.name

    @property
    def package(self) -> str:
        """Its own package, whose version is its own."""
        return package_of(self.requirements[0])

    def launch(self, setting: Setting, port: int) -> Launch:
        """How it is started."""
        told = {"MODEL": str(setting.model), "THREADS": setting.threads, "WORKERS": setting.workers, "PORT": port}
        environment = {f"BENCH_{name}": str(value) for name, value in (told | {"BATCH": setting.batch}).items()}
        return Launch(
            command=[str(self.environment / "bin" / "python"), str(SCRIPTS / self.script)],
            environment=environment | dict(self.variables) | dict(setting.environment),
            log=LOGS / f"{self.name}.log",
            core=setting.core,
        )

    def work(self, setting: Setting, port: int, n: int, answer: str = "npy") -> Work:
        """What it is asked; the answer is the samples' bytes."""
        return self.ask(f"http://{HOST}:{port}{self.path}", n)


def package_of(requirement: str) -> str:
    """A requirement's name, without extras and version."""
    return requirement.partition("=")[0].partition("[")[0]


def protocol_work(url: str, n: int, asked: str, *, in_base64: bool = False) -> Work:
    """Ask in the Open Inference Protocol for the samples of two numbers, `count` and `first`.

    Args:
        url: of the request.
        n: samples.
        asked: what the request says beside its inputs, as JSON without braces.
        in_base64: whether the answer comes so.
    """
    tensor = '{"name": "%s", "datatype": "INT64", "shape": [1, 1], "data": ['
    head = f'{{{asked}, "inputs": [{tensor % "count"}{n}]}}, {tensor % "first"}'
    return Work(url=url, n=n, head=head, tail="]}]}", in_base64=in_base64)


def triton_work(url: str, n: int) -> Work:
    """Ask with JSON in and Triton's binary data out."""
    return protocol_work(url, n, '"outputs": [{"name": "pixels", "parameters": {"binary_data": true}}]')


def mlserver_work(url: str, n: int) -> Work:
    """Ask with JSON in and out; without an id, MLServer draws one, and no two answers would be the same."""
    return protocol_work(url, n, '"id": "0"', in_base64=True)


def list_work(url: str, n: int) -> Work:
    """Ask with a list of one JSON object, as a server takes it whose batches are lists."""
    one = json_work(url, n)
    return Work(url=url, n=n, head=f"[{one.head}", tail=f"{one.tail}]")


OURS: Final = Ours()
PEERS_BY_NAME: Final = {
    peer.name: peer
    for peer in (
        Peer(name="mosec", requirements=("mosec==0.9.8",), path="/inference", script="serve_mosec.py"),
        Peer(
            name="litserve",
            requirements=("litserve==0.2.19", "uvloop"),
            path="/predict",
            script="serve_litserve.py",
        ),
        Peer(
            name="pytriton",
            requirements=("nvidia-pytriton==0.7.0",),
            path="/v2/models/generator/infer",
            script="serve_pytriton.py",
            ask=triton_work,
            # Triton embeds the interpreter that the linker finds; it must be the one whose packages it is given.
            variables={"LD_LIBRARY_PATH": sysconfig.get_config_var("LIBDIR") or ""},
        ),
        Peer(
            name="bentoml",
            requirements=("bentoml==1.4.39", "uvloop", "httptools"),
            path="/pixels",
            script="serve_bentoml.py",
            ask=list_work,
            variables={"BENTOML_DO_NOT_TRACK": "True"},
        ),
        Peer(
            name="rayserve",
            requirements=("ray[serve,haproxy]==2.60.0",),
            path="/",
            script="serve_rayserve.py",
            variables={
                "RAY_SERVE_ENABLE_HA_PROXY": "1",
                "RAY_SERVE_HAPROXY_NBTHREAD": "1",
                "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
                "RAY_USAGE_STATS_ENABLED": "0",
            },
        ),
        Peer(
            name="mlserver",
            requirements=("mlserver==1.7.1", "uvloop==0.21.0", "httptools"),  # its workers break on 0.22
            path="/v2/models/generator/infer",
            script="serve_mlserver.py",
            ask=mlserver_work,
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
