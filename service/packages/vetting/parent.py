"""Validates ONNX graphs in a sandboxed child process; a crash or a timeout counts as a refusal (see `child.py`)."""

import asyncio
import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

import service
from service.errors import GraphRefused
from service.packages.schema import Discriminator, Graph

CHILD = "service.packages.vetting.child"
# -P and -s: no module is taken from the working directory or from a user's own packages.
PYTHON_FLAGS = ("-P", "-s")
MEBIBYTE = 1024 * 1024
MAX_REASON = 200  # characters of the child's last words


@dataclass(frozen=True, slots=True)
class VettingLimits:
    """What the child may use.

    Attributes:
        timeout_s: wall time and CPU time, for all graphs together.
        memory_bytes: address space.
    """

    timeout_s: float
    memory_bytes: int


class _Verdict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    refusal: str | None


def _request(graphs: Sequence[tuple[Graph, bytes]]) -> bytes:
    stated = [
        {
            "file": graph.file,
            "bytes": len(content),
            "opset": graph.opset,
            "inputs": [tensor.model_dump() for tensor in graph.inputs],
            "outputs": [tensor.model_dump() for tensor in graph.outputs],
            "batch_coupled": isinstance(graph, Discriminator) and graph.batch_coupled,
        }
        for graph, content in graphs
    ]
    line = json.dumps({"graphs": stated}).encode() + b"\n"
    return b"".join((line, *(content for _, content in graphs)))


def _environment() -> dict[str, str]:
    """Where our own code is; no variable of the service's environment, which may hold secrets."""
    return {"PYTHONPATH": str(Path(service.__path__[0]).parent), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


async def vet(graphs: Sequence[tuple[Graph, bytes]], limits: VettingLimits) -> None:
    """Vet the graphs of a package in one child process; cancelling kills it.

    Args:
        graphs: what the manifest says of each, and its verified bytes, which are those that the engine gets.
        limits: what the child may use.

    Raises:
        GraphRefused: a graph is not acceptable, or the child died or ran out of time or memory on it.
    """
    files = ", ".join(graph.file for graph, _ in graphs)
    request = await asyncio.to_thread(_request, graphs)
    command = (sys.executable, *PYTHON_FLAGS, "-m", CHILD)
    child = await asyncio.create_subprocess_exec(
        *command,
        f"--memory-bytes={limits.memory_bytes}",
        f"--cpu-s={math.ceil(limits.timeout_s)}",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        cwd=os.sep,
    )
    try:
        async with asyncio.timeout(limits.timeout_s):
            answer, errors = await child.communicate(request)
    except TimeoutError as error:
        raise GraphRefused(f"{files}: vetting took longer than {limits.timeout_s:g} s") from error
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    if child.returncode != 0:
        raise GraphRefused(f"{files}: the vetting child {_death(child.returncode, errors, limits)}")
    try:
        verdict = _Verdict.model_validate_json(answer)
    except ValidationError as error:
        raise GraphRefused(f"{files}: the vetting child gave no verdict") from error
    if verdict.refusal is not None:
        raise GraphRefused(verdict.refusal)


def _death(status: int | None, errors: bytes, limits: VettingLimits) -> str:
    """Say what a child that gave no verdict died of."""
    last_line = errors.decode(errors="replace").strip().rpartition("\n")[2][:MAX_REASON]
    if "MemoryError" in last_line:
        return f"needed more than its {limits.memory_bytes // MEBIBYTE} MiB of memory"
    if status is not None and status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"failed with status {status}: {last_line}"
