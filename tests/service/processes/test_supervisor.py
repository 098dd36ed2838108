"""How several processes listen on one port."""

import socket
from contextlib import ExitStack, suppress

import pytest

from service.processes.supervisor import listen

CONNECTIONS = 64


def test_every_listener_of_a_port_gets_its_share_of_connections() -> None:
    with ExitStack() as held:
        listeners = [held.enter_context(each) for each in listen("127.0.0.1", 0, 2)]
        (address,) = {each.getsockname() for each in listeners}
        for _ in range(CONNECTIONS):
            held.enter_context(socket.create_connection(address))
        accepted = []
        for listener in listeners:
            listener.setblocking(False)
            accepted.append(0)
            with suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    accepted[-1] += 1
        assert sum(accepted) == CONNECTIONS
        assert min(accepted) > 0


def test_a_port_that_another_service_listens_on_is_not_shared() -> None:
    with ExitStack() as held:
        first, _ = (held.enter_context(each) for each in listen("127.0.0.1", 0, 2))
        with pytest.raises(OSError, match="in use"):
            listen("127.0.0.1", first.getsockname()[1], 2)
