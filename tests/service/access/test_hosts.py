"""Whom a service answers for, and what it tells browsers: the Host that a page may not borrow, the form of answers."""

import socket

import httpx
import pytest

from service.access.hosts import MAX_PARAMETERS, AllowedHosts, check_query, why_not_listen
from service.errors import InvalidRequest
from tests.support.serving import ServiceProcess


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "a.localhost",
        "127.0.0.1:8000",
        "[::1]:8000",
        "10.1.2.3",
        "localhost.",
        "gan",
        "",
        None,
    ],
)
@pytest.mark.parametrize("named", ["", "gan.example"])
def test_local_names_and_addresses_are_always_answered(host: str | None, named: str) -> None:
    assert AllowedHosts(named, "127.0.0.1").include(host)
    assert AllowedHosts(named, "0.0.0.0").include(host)  # noqa: S104  (nothing listens)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example",
        "gan.example, localhost",
    ],
)  # fmt: skip
@pytest.mark.parametrize("listens_on", ["127.0.0.1", "::1", "localhost"])
def test_on_loopback_another_name_is_not_answered(host: str, listens_on: str) -> None:
    assert not AllowedHosts("", listens_on).include(host)
    assert AllowedHosts("*", listens_on).include(host)


def test_elsewhere_every_name_is_answered_unless_some_are_listed() -> None:
    assert AllowedHosts("", "0.0.0.0").include("gan.example")  # noqa: S104  (nothing listens)
    listed = AllowedHosts("gan.example, *.inner.example", "0.0.0.0")  # noqa: S104  (nothing listens)
    assert listed.include("Gan.Example:80")
    assert listed.include("a.b.inner.example")
    assert not listed.include("inner.example")
    assert not listed.include("evil.example")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/models"), ("POST", "/generate"), ("POST", "/score"), ("GET", "/v2"), ("GET", "/docs")],
)
def test_a_page_that_borrows_the_loopback_address_is_refused_in_words(
    client: httpx.Client, method: str, path: str
) -> None:
    answer = client.request(method, path, headers={"host": "evil.example"})
    assert answer.status_code == 403
    assert "GANYMEDE_ALLOWED_HOSTS" in answer.text
    assert client.request(method, path, headers={"host": "localhost:1"}).status_code != 403


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/healthz"), ("POST", "/generate"), ("POST", "/generate?format=zip"), ("POST", "/score"), ("GET", "/docs"),
     ("GET", "/docs/assets/swagger-ui.css"), ("GET", "/openapi.json"), ("GET", "/nothing"), ("GET", "/v2/models/no")],
)  # fmt: skip
def test_no_answer_may_be_taken_for_what_it_looks_like(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(answer.headers.get_list("x-content-type-options")) == 1


def test_neither_may_what_the_connection_answers(service: ServiceProcess) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"not HTTP\r\n\r\n")
        head = connection.makefile("rb").read().lower()
    assert b"400" in head
    assert b"\r\nx-content-type-options: nosniff\r\n" in head


def test_the_page_of_the_document_stands_in_no_foreign_frame(client: httpx.Client) -> None:
    headers = client.get("/docs").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    assert "script-src 'self' 'sha256-" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_an_address_may_repeat_parameters_but_not_invent_them() -> None:
    check_query(b"")
    check_query(b"&".join([b"label=3"] * MAX_PARAMETERS))
    with pytest.raises(InvalidRequest):
        check_query(b"&".join([b"label=3"] * (MAX_PARAMETERS + 1)))
    with pytest.raises(InvalidRequest):
        check_query(b"&".join(b"x%d=3" % number for number in range(100)))


@pytest.mark.parametrize(
    ("host", "keys_file", "without_keys"),
    [
        ("127.0.0.1", "", ""),
        ("127.9.9.9", "", ""),
        ("::1", "", ""),
        ("localhost", "", ""),
        ("0.0.0.0", "keys.toml", ""),  # noqa: S104  (nothing listens)
        ("0.0.0.0", "", "anyone-may-use-it"),  # noqa: S104
        ("::", "", "published-on-127.0.0.1"),
        ("::", "", "published-on-::1"),
        ("10.0.0.1", "keys.toml", "published-on-0.0.0.0"),
    ],
)
def test_it_listens_where_only_this_host_reaches_it_or_with_keys_or_where_told_so(
    host: str, keys_file: str, without_keys: str
) -> None:
    assert why_not_listen(host, keys_file, without_keys) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "192.0.2.1", "gan.example", "", "::ffff:10.0.0.1"])  # noqa: S104
@pytest.mark.parametrize(
    "words", ["", "yes", "Anyone-may-use-it", "published-on-", "published-on-0.0.0.0", "127.0.0.1"]
)
def test_it_listens_nowhere_else(host: str, words: str) -> None:
    refusal = why_not_listen(host, "", words)
    assert refusal is not None
    assert "GANYMEDE_WITHOUT_KEYS=anyone-may-use-it" in refusal
