"""One of the processes that answer HTTP: the whole application except the engine, which is in another process.

    connections ─▶ endpoints ─▶ RemoteEngine, RepositoryClient ──channel──▶ engine_process.py

Its arguments are the path of the engine's socket and the numbers of listening sockets. It listens once it knows what is
served, and ends when its parent ends or tells it to.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from service import logs, tracing
from service.app import ENGINE_STOP_S, Answered, Core, Failed, create_app
from service.metrics import Telemetry
from service.multiprocess.engine_client import RemoteEngine, RemoteQuotas
from service.multiprocess.heartbeat import Heartbeat
from service.multiprocess.metrics import SummedMetrics, registry_of, snapshot
from service.multiprocess.repository_client import RepositoryClient
from service.multiprocess.rpc import Channel
from service.server.run import serve
from service.settings import Settings

# Prometheus gives up a scrape after 10 s by default; the engine process waits 0.5 s for each API process at most.
METRICS_PATIENCE_S = 3.0


@asynccontextmanager
async def remote_core(
    path: str, settings: Settings, telemetry: Telemetry, answered: Answered, _failed: Failed
) -> AsyncIterator[Core]:
    """Connect to the engine process.

    Args:
        path: of its socket.
        settings: the same as the engine process has.
        telemetry: what this process counts.
        answered: waits until every request that is in progress here now has been answered.

    Raises:
        NotReady: the engine process has ended.
    """
    heartbeat = Heartbeat(asyncio.get_running_loop(), sys.stdin.fileno())
    repository = RepositoryClient(settings, answered)

    async def own() -> str:
        return await asyncio.to_thread(snapshot, telemetry.registry)

    async def metrics() -> CollectorRegistry:
        living, ended = await channel.call("metrics.all", patience_s=METRICS_PATIENCE_S)
        return registry_of(SummedMetrics(living, ended))

    _, channel = await asyncio.get_running_loop().create_unix_connection(
        lambda: Channel({**repository.handlers, "metrics.own": own}), path
    )
    await repository.connect(channel)
    engine = RemoteEngine(channel)
    try:
        yield Core(engine, repository, RemoteQuotas(channel), metrics)
    finally:
        await engine.drain(ENGINE_STOP_S)
        heartbeat.stop()


def main() -> int:
    """Answer requests until it is time to end.

    Returns:
        The exit code.
    """
    path, *listeners = sys.argv[1:]
    settings = Settings()
    logs.configure(settings.log_format, settings.log_level)
    app = create_app(settings, open_core=partial(remote_core, path), traces=tracing.from_environment(os.environ))
    return serve(app, settings, [socket.socket(fileno=int(each)) for each in listeners], sys.stdin.fileno())


if __name__ == "__main__":
    sys.exit(main())
