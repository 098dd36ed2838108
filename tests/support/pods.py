"""A pod run as a process: the container's environment, command and probes, and the end of a pod that is deleted.

In place of a kubelet stands `Pod`: it runs the container's command with its environment, each mount's path replaced by
a folder that stands for the volume; it asks the probes as they are stated; and ends as a deleted pod does: it waits
(preStop), is sent SIGTERM, and is killed after the grace period.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.support.chart import ROOT, Manifest

PATIENCE_S = 60


class Pod:
    """A pod that runs the service.

    Args:
        spec: of the pod, as rendered.
        volumes: name of a volume → the folder that stands for it.

    Attributes:
        volumes: as given.
    """

    def __init__(self, spec: Manifest, volumes: dict[str, Path]) -> None:
        self.volumes = volumes
        self.grace_s = spec["terminationGracePeriodSeconds"]
        (self.container,) = spec["containers"]
        folders = {mount["mountPath"]: str(volumes[mount["name"]]) for mount in self.container["volumeMounts"]}
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GANYMEDE_")}
        for each in self.container["env"]:
            value = each["value"]
            for path, folder in folders.items():
                if value == path or value.startswith(f"{path}/"):
                    value = folder + value.removeprefix(path)
            environment[each["name"]] = value
        program, *arguments = self.container["command"]
        assert program == "python"
        self.port = self.container["ports"][0]["containerPort"]
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = volumes["tmp"] / f"{self.port}.log"
        with self._log.open("w") as log:
            environment["TMPDIR"] = str(volumes["tmp"])
            command = [sys.executable, *arguments]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def probe(self, name: str) -> bool:
        """Ask a probe once, with its own timeout."""
        probe = self.container[name]
        try:
            answer = httpx.get(
                self.url + probe["httpGet"]["path"], timeout=probe["timeoutSeconds"], trust_env=False
            )  # fmt: skip
        except httpx.HTTPError:
            return False
        return 200 <= answer.status_code < 400

    def until(self, name: str, limit_s: float, *, passes: bool = True) -> None:
        """Probe until it passes, or does not."""
        end = time.monotonic() + limit_s
        while self.probe(name) is not passes:
            assert time.monotonic() < end, f"{name}: {self._log.read_text()}"
            time.sleep(0.1)  # as a kubelet does, only oftener

    def start(self) -> None:
        """Wait until it has started, within the time that the Deployment leaves, and is ready."""
        startup = self.container["startupProbe"]
        self.until("startupProbe", startup["periodSeconds"] * startup["failureThreshold"])
        self.until("readinessProbe", PATIENCE_S)

    def delete(self) -> float:
        """End it as a kubelet does, which would kill it after its grace; returns the seconds that it took."""
        began = time.monotonic()
        time.sleep(self.container["lifecycle"]["preStop"]["sleep"]["seconds"])
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(began + self.grace_s - time.monotonic()) == 0
        return time.monotonic() - began
