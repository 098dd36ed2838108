"""Requests at a constant rate: when they are due, and whose time it is when a server stops."""

import http.server
import socketserver
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load import open_loop
from benchmarks.load.closed_loop import LoadFailed, json_work

STOP_S = 0.3


class OnePause(http.server.BaseHTTPRequestHandler):
    """Answers at once, but for the tenth request, during which nobody is answered."""

    protocol_version = "HTTP/1.1"
    turn = threading.Lock()
    asked = 0
    status = 200

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        with OnePause.turn:
            OnePause.asked += 1
            if OnePause.asked == 10:
                time.sleep(STOP_S)  # the server's fault that the load must not hide
        self.send_response(self.status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:
        pass


class Refusing(OnePause):
    status = 503


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a load that failed hangs up on everybody."""


@pytest.fixture(params=[OnePause])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    OnePause.asked = 0
    with Server(("127.0.0.1", 0), request.param) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/generate"
        server.shutdown()
        thread.join()


@settings(deadline=None)
@given(st.floats(1, 500), st.floats(1, 3))
def test_requests_are_due_at_equal_distances_within_the_time(rate: float, duration: float) -> None:
    due = open_loop.due_times(rate, duration)
    assert due[0] == 0
    assert due[-1] < duration
    assert len(due) == int(rate * duration)
    assert np.allclose(np.diff(due), 1 / rate)


def test_a_server_that_stops_delays_everybody_who_was_due_meanwhile(url: str) -> None:
    load = open_loop.run(json_work(url, 1), 100, 1.0)
    assert load.requests == 100
    # While it stops, a request comes every 10 ms; a load that waited with it would see a single late one.
    assert load.p90_s > STOP_S / 10
    assert load.worst_s >= STOP_S


@pytest.mark.parametrize("url", [Refusing], indirect=True)
def test_a_request_that_is_refused_fails_the_load(url: str) -> None:
    with pytest.raises(LoadFailed, match="503"):
        open_loop.run(json_work(url, 1), 50, 0.1)


def test_each_request_goes_to_the_server_that_is_chosen_from_what_each_has_not_answered(url: str) -> None:
    seen = []

    def least(outstanding: Sequence[int]) -> int:
        seen.append(tuple(outstanding))
        return outstanding.index(min(outstanding))

    answered = open_loop.send([json_work(url, 1)] * 2, [0.0, 0.0, 0.0, STOP_S], least)
    assert seen == [(0, 0), (1, 0), (1, 1), (0, 0)]
    assert [each.due_s for each in answered] == [0.0, 0.0, 0.0, STOP_S]
    assert all(0 <= each.sent_s < each.took_s for each in answered)
