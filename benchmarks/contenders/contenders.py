"""The measured servers: name, virtual environment, start command and request format of each.

All serve the same ONNX file, draw each sample's latent from its seed and return the pixels as bytes (ours as NPY,
MLServer as base64). A peer is started with the best layout for the measured load (`experiments/serving.py`) and with
the shortest batching delay that it supports; our service runs with its defaults.
"""

import secrets
import socket
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
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
        network: generator: `g28`, `g64`, `zero`, `mnist`.
        workers: model workers of a peer.
        threads: of each worker.
        batch: largest batch of a worker, in requests.
        core: CPU that the whole server is pinned to; None for all.
        environment: additional environment variables.
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
        environment: settings of a variant, such as the backend.
    """

    name: str = "ganymede"
    environment: Mapping[str, str] = field(default_factory=dict)

    def launch(self, setting: Setting, port: int) -> Launch:
        """The start command on a port."""
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
        """The request for n samples."""
        return json_work(f"http://{HOST}:{port}/generate?format={answer}", n, model=setting.network)


@dataclass(frozen=True, kw_only=True)
class OnRay(Ours):
    """Our service as replicas on a Ray cluster of this machine, which share its cores (the extra `ray`).

    Attributes:
        replicas: how many.
    """

    replicas: int = 1

    def launch(self, setting: Setting, port: int) -> Launch:
        """As `Ours.launch`."""
        alone = super().launch(setting, port)
        ray = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        return replace(
            alone,
            command=[sys.executable, "-m", "benchmarks.contenders.on_ray", str(port), str(self.replicas)],
            environment={**alone.environment, **ray, "GANYMEDE_HOST": HOST},
        )


@dataclass(frozen=True, kw_only=True)
class Peer:
    """Another server, in its own virtual environment.

    Attributes:
        name: of its package.
        requirements: of its environment, without ONNX Runtime; the first is the peer's own package.
        path: URL path of the request.
        script: file in `peers/` that serves.
        ask: makes the request from a URL and n.
        variables: additional environment variables of its processes.
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
        """Name of the peer's own package, whose version is reported."""
        return package_of(self.requirements[0])

    def launch(self, setting: Setting, port: int) -> Launch:
        """The start command on a port."""
        told = {"MODEL": str(setting.model), "THREADS": setting.threads, "WORKERS": setting.workers, "PORT": port}
        environment = {f"BENCH_{name}": str(value) for name, value in (told | {"BATCH": setting.batch}).items()}
        return Launch(
            command=[str(self.environment / "bin" / "python"), str(SCRIPTS / self.script)],
            environment=environment | dict(self.variables) | dict(setting.environment),
            log=LOGS / f"{self.name}.log",
            core=setting.core,
        )

    def work(self, setting: Setting, port: int, n: int, answer: str = "npy") -> Work:
        """The request for n samples; the response is raw bytes, `answer` is ignored."""
        return self.ask(f"http://{HOST}:{port}{self.path}", n)


def package_of(requirement: str) -> str:
    """A requirement's name, without extras and version."""
    return requirement.partition("=")[0].partition("[")[0]


def protocol_work(url: str, n: int, asked: str, *, in_base64: bool = False) -> Work:
    """Request samples over the Open Inference Protocol; the inputs are `count` and `first` (the first seed).

    Args:
        url: with path.
        n: samples.
        asked: further members of the request, as JSON without braces.
        in_base64: whether the response is base64.
    """
    tensor = '{"name": "%s", "datatype": "INT64", "shape": [1, 1], "data": ['
    head = f'{{{asked}, "inputs": [{tensor % "count"}{n}]}}, {tensor % "first"}'
    return Work(url=url, n=n, head=head, tail="]}]}", in_base64=in_base64)


def triton_work(url: str, n: int) -> Work:
    """Request in JSON, response in Triton's binary format."""
    return protocol_work(url, n, '"outputs": [{"name": "pixels", "parameters": {"binary_data": true}}]')


def mlserver_work(url: str, n: int) -> Work:
    """Request and response in JSON; without an id MLServer generates one, and no two responses are equal."""
    return protocol_work(url, n, '"id": "0"', in_base64=True)


def list_work(url: str, n: int) -> Work:
    """Request in a list of one JSON object, for servers whose batches are lists."""
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
            # Triton embeds the interpreter that the linker finds; it must be the one of this environment.
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
    """A TCP port that is not in use."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
