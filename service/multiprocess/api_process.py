"""One of the processes that answer HTTP: the whole application but for what computes, which another process has.

    connections ─▶ routes ─▶ RemoteEngine, Replica ──channel──▶ processes/engine.py

It is started with the number of a socket that listens and the path of the engine's. It begins to answer when it knows
what is served, and ends when its parent does or says so.
"""

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from prometheus_client import CollectorRegistry

from service import logs
from service.app import ENGINE_STOP_S, Answered, Core, Failed, create_app
from service.metrics import Telemetry
from service.multiprocess.engine_client import RemoteEngine
from service.multiprocess.metrics import Sum, registry_of, snapshot
from service.multiprocess.pulse import Beats
from service.multiprocess.repository_client import Replica
from service.multiprocess.rpc import Channel
from service.server.run import serve
from service.settings import Settings

# Of a scrape, which Prometheus waits 10 s for by default; the engine asks every process for half a second at most.
METRICS_PATIENCE_S = 3.0


@asynccontextmanager
async def remote_core(
    path: str, settings: Settings, telemetry: Telemetry, answered: Answered, _failed: Failed
) -> AsyncIterator[Core]:
    """Find what computes in another process.

    Args:
        path: of its socket.
        settings: those of that process.
        telemetry: what this process counts.
        answered: waits until every request that is being answered here now has been.

    Raises:
        NotReady: that process has gone.
    """
    beats = Beats(asyncio.get_running_loop(), sys.stdin.fileno())
    replica = Replica(settings, answered)

    async def own() -> str:
        return await asyncio.to_thread(snapshot, telemetry.registry)

    async def metrics() -> CollectorRegistry:
        living, ended = await channel.call("metrics.all", patience_s=METRICS_PATIENCE_S)
        return registry_of(Sum(living, ended))

    _, channel = await asyncio.get_running_loop().create_unix_connection(
        lambda: Channel({**replica.handlers, "metrics.own": own}), path
    )
    await replica.follow(channel)
    engine = RemoteEngine(channel)
    try:
        yield Core(engine, replica, metrics)
    finally:
        await engine.drain(ENGINE_STOP_S)
        beats.stop()


def main() -> int:
    """Answer requests until it is time to end.

    Returns:
        The exit code.
    """
    listener, path = sys.argv[1:]
    settings = Settings()
    logs.configure(settings.log_format, settings.log_level)
    app = create_app(settings, open_core=partial(remote_core, path))
    return serve(app, settings, socket.socket(fileno=int(listener)), sys.stdin.fileno())


if __name__ == "__main__":
    sys.exit(main())
