"""Errors on the wire: one form everywhere, an id on everything, and nothing internal in any of them."""

from collections.abc import Callable

import httpx
import pytest
from starlette.responses import Response

from service.errors import DeadlinePassed, FileDamaged, GanymedeError, NotFinite, QueueFull, SessionFailed
from service.server.problems import problem_response, protocol_error_response

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing/here", 404),
        ("POST", "/generate/", 404),
        ("GET", "/generate", 405),
        ("DELETE", "/models", 405),
        ("POST", "/score", 422),
    ],
)
def test_every_error_is_a_problem_document(client: httpx.Client, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert problem["detail"].endswith(".")
    assert problem["request_id"] == answer.headers["x-request-id"]


def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(client: httpx.Client) -> None:
    assert client.get("/generate").headers["allow"] == "POST"


def test_a_sane_request_id_is_taken_and_any_other_replaced(client: httpx.Client) -> None:
    def answered(given: str) -> str:
        return client.get("/healthz", headers={"x-request-id": given}).headers["x-request-id"]

    assert answered("order-66.A_b:c") == "order-66.A_b:c"
    for insane in ("", "a b", '"quoted"', "x" * 129, "-first"):
        assert answered(insane) != insane
    assert answered("") != answered("")


@pytest.mark.parametrize("error", [SessionFailed("/home/me: Traceback"), FileDamaged("secret"), KeyError("secret")])
def test_a_fault_tells_its_caller_nothing_but_the_request_id(error: Exception) -> None:
    response = problem_response(error, "abc")
    text = bytes(response.body).decode()
    assert response.status_code == 500
    assert "secret" not in text
    assert "home" not in text
    assert "abc" in text


@pytest.mark.parametrize("word", [lambda error: problem_response(error, "abc"), protocol_error_response])
def test_a_package_that_answers_no_numbers_is_named(word: Callable[[Exception], Response]) -> None:
    response = word(NotFinite("the generator of toy/1 answers numbers that are not finite"))
    assert response.status_code == 500
    assert "toy/1 answers numbers that are not finite" in bytes(response.body).decode()


@pytest.mark.parametrize(("retry_after_s", "header"), [(None, "1"), (0.0, "1"), (0.2, "1"), (2.0, "2"), (2.1, "3")])
def test_retry_after_is_in_whole_seconds_and_never_zero(retry_after_s: float | None, header: str) -> None:
    assert problem_response(QueueFull("full", retry_after_s), "abc").headers["retry-after"] == header


def test_a_passed_deadline_does_not_ask_its_caller_to_come_back() -> None:
    assert "retry-after" not in problem_response(DeadlinePassed("late"), "abc").headers


def test_an_error_of_the_tree_has_its_own_status() -> None:
    def leaves(kind: type[GanymedeError]) -> list[type[GanymedeError]]:
        below = [leaf for child in kind.__subclasses__() for leaf in leaves(child)]
        return below or [kind]

    for kind in leaves(GanymedeError):
        if kind.__init__ is GanymedeError.__init__:
            assert problem_response(kind("why"), "abc").status_code == kind.status


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", f"/generate?{'a' * 20_000}=1", None),
        ("POST", f"/generate?format={'a' * 20_000}", None),
        ("POST", f"/score?label={'a' * 20_000}", None),
        ("GET", f"/models/toy/versions/1/samples/7.png?codes={'a' * 20_000}:1", None),
        ("GET", f"/models/{'a' * 20_000}", None),
        ("GET", f"/models/toy/versions/{'1' * 20_000}", None),
        ("GET", f"/v2/models/{'a' * 20_000}", None),
        ("POST", f"/v2/repository/models/{'a' * 20_000}/load", None),
        ("POST", "/generate", {"a" * 20_000: 1}),
        ("POST", "/generate", {"model": "a" * 20_000}),
        ("POST", "/generate", {"version": "1" * 20_000}),
        ("POST", "/generate", {"seeds": "a" * 20_000}),
        ("POST", "/generate", {"model": "classes", "label": "a" * 20_000}),
        ("POST", "/generate", {"model": "infogan", "codes": {"a" * 20_000: 1}}),
        ("POST", "/generate", {"select": {"method": "a" * 20_000}}),
        ("POST", "/score", {"images": ["a" * 20_000]}),
        ("POST", "/v2/models/toy/infer", {"inputs": [{"name": "a" * 20_000, "shape": [1], "datatype": "FP32"}]}),
        ("POST", "/v2/models/toy/infer", {"inputs": [{"name": "latent", "shape": [1], "datatype": "a" * 20_000}]}),
        ("POST", "/v2/models/toy/infer", {"inputs": [], "outputs": [{"name": "a" * 20_000}]}),
        ("POST", "/v2/models/toy/infer", {"inputs": [], "parameters": {"a" * 20_000: 1}}),
    ],
)
def test_what_a_caller_made_up_is_quoted_briefly(
    client: httpx.Client, method: str, path: str, body: dict[str, object] | None
) -> None:
    answer = client.request(method, path, json=body)
    assert 400 <= answer.status_code < 500
    assert len(answer.content) < 2_000
