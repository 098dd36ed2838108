"""Two connected channels in one process, over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from service.multiprocess.rpc import Channel, Handler


@asynccontextmanager
async def wired(
    handlers: Mapping[str, Handler], own: Mapping[str, Handler] | None = None
) -> AsyncIterator[tuple[Channel, Channel]]:
    """Connect two channels.

    Args:
        handlers: of the far end.
        own: of the near end.

    Yields:
        The near end and the far end.
    """
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    _, near = await loop.create_unix_connection(lambda: Channel(own or {}), sock=here)
    _, far = await loop.create_unix_connection(lambda: Channel(handlers), sock=there)
    try:
        yield near, far
    finally:
        near.close()
        far.close()
        await asyncio.gather(near.lost, far.lost)
