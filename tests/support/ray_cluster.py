"""A Ray cluster of this machine alone, and what `serve run` serves on it: two replicas behind Ray's proxy."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx
import pytest
import yaml

from tests.support.serving import ROOT, TIMEOUT_S

CONFIG: Final = ROOT / "deploy/ray/serve.yaml"
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason='Ray is not installed: pip install -e ".[ray]"')
# Ends when its standard input does: with the test, however that ends. The store is the smallest that Ray takes; two
# replicas of one core each have room for two others that take their place.
CLUSTER: Final = """
import sys, ray
cluster = ray.init(num_cpus=4, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False,
                   _temp_dir=sys.argv[1])
print(cluster.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""
REPLICA: Final = b"ray::ServeReplica:ganymede:ganymede"
LOOK_S: Final = 0.05
# A cluster and its replicas start in some twenty processes.
PATIENCE_S: Final = 200.0


def configured(port: int, metrics_port: int, **settings: str | float | Path) -> dict[str, Any]:
    """The shipped configuration for this machine: two replicas of one core each, and other settings."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    config["http_options"]["port"] = port
    (deployment,) = config["applications"][0]["deployments"]
    del deployment["autoscaling_config"]
    deployment["num_replicas"] = 2
    deployment["health_check_period_s"] = 1
    deployment["ray_actor_options"]["num_cpus"] = 1
    variables = deployment["ray_actor_options"]["runtime_env"]["env_vars"]
    variables |= {f"GANYMEDE_{name.upper()}": str(value) for name, value in settings.items()}
    variables["GANYMEDE_METRICS_PORT"] = str(metrics_port)
    return config


class RayCluster:
    """A cluster; leaving the block ends it, with all that it serves."""

    def __init__(self) -> None:
        # A socket's whole path has 107 characters at most, and Ray adds 60.
        self._folder = Path(tempfile.mkdtemp(prefix="ray"))
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("GANYMEDE_", "RAY_"))}
        self._environment = kept | {
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",  # left out, Ray writes one to the user's home folder
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER, str(self._folder / "ray")],
            cwd=ROOT, env=self._environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        self._address = self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        assert self._address, "the cluster did not start"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._process.stdout.close()
        shutil.rmtree(self._folder)

    def serve(self, config: Mapping[str, Any]) -> None:
        """Serve a configuration, or change what is served to it; returns before it is."""
        file = self._folder / "serve.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [str(Path(sys.executable).with_name("serve")), "run", "--non-blocking", "--address", self._address]
        done = subprocess.run(
            [*command, file], cwd=ROOT, env=self._environment, timeout=TIMEOUT_S, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def replicas(self) -> list[int]:
        """Process ids of the replicas."""
        return sorted(pid for pid in descendants(self._process.pid) if command_of(pid).startswith(REPLICA))

    def logs(self) -> str:
        """The end of what Serve's parts logged."""
        files = sorted(self._folder.glob("ray/session_*/logs/serve/*.log"))
        return "\n".join(f"{file.name}: {file.read_text(errors='replace')[-1500:]}" for file in files)


def until(condition: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    """Wait until a condition holds; what explains it is written where it does not."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < PATIENCE_S, explain()
        time.sleep(LOOK_S)


def descendants(pid: int) -> set[int]:
    """Process ids of all children of a process, and of theirs."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has just ended
    found, left = set[int](), {pid}
    while left:
        left = {child for child, parent in parents.items() if parent in left}
        found |= left
    return found


def command_of(pid: int) -> bytes:
    """The command line of a process; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ready(url: str) -> bool:
    """Whether a request is answered as one of the service is."""
    try:
        return httpx.get(f"{url}/readyz", timeout=TIMEOUT_S, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
