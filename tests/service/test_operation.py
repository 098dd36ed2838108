"""What operators see: health, metrics whose number of series does not grow, a log line a request, the document."""

import json
import re
from urllib.parse import urljoin

import httpx
import pytest
from pydantic import BaseModel

from service.api.schemas.requests import GenerateRequest, SamplesRequest
from tests.support.serving import ServiceProcess, metric

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_the_service_is_alive_and_ready(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "alive"}
    ready = client.get("/readyz").json()
    assert ready["status"] == "ready"
    assert {"toy/1", "toy/2"} <= set(ready["packages"]["ready"])
    assert [ready["packages"][state] for state in ("loading", "unloaded")] == [[], []]


def test_metrics_count_requests_by_route_and_status(client: httpx.Client) -> None:
    def count() -> float:
        return metric(client, "ganymede_requests_total", route="/models/{name}", status="404")

    before = count()
    client.get("/models/nobody")
    assert count() == before + 1


def test_metrics_count_samples_and_encodings(client: httpx.Client) -> None:
    def counts() -> tuple[float, ...]:
        return (
            metric(client, "ganymede_samples_total", model="toy", graph="generator"),
            metric(client, "ganymede_samples_total", model="toy", graph="discriminator"),
            metric(client, "ganymede_encode_seconds_count", format="json"),
            metric(client, "ganymede_generated_probability_count", model="toy"),
            metric(client, "ganymede_scored_probability_count", model="toy"),
        )

    before = counts()
    client.post("/generate", json={"n": 5, "scores": True})
    client.post("/score", json={"samples": [[0.0] * 64]})
    after = counts()
    assert [now - then for now, then in zip(after, before, strict=True)] == [5, 6, 1, 5, 1]


def test_callers_cannot_make_the_number_of_series_grow(client: httpx.Client) -> None:
    def series() -> int:
        lines = client.get("/metrics").text.splitlines()
        return len({line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")})

    def ask(name: str) -> None:
        client.get(f"/{name}")
        client.get(f"/models/{name}")
        client.get(f"/models/toy/versions/{name}")
        client.post("/generate", json={"model": name}, headers={"x-request-id": name})
        client.post(f"/generate?format={name}")
        client.post("/score", json={"model": name, "samples": [[0.0]]})
        client.request(name.upper(), "/generate")

    ask("first")
    before = series()
    for number in range(100):
        ask(f"x{number:x}")
    assert series() == before


def test_a_request_has_one_log_line_with_its_ids(service: ServiceProcess, client: httpx.Client) -> None:
    client.get(
        "/models/nobody",
        headers={"x-request-id": "look-for-me", "traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"},
    )
    line = service.wait_for("request", request_id="look-for-me")
    assert (line["method"], line["path"], line["status"]) == ("GET", "/models/nobody", 404)
    assert line["trace_id"] == TRACE_ID
    assert len(service.lines(request_id="look-for-me")) == 1


@pytest.mark.parametrize("traceparent", ["junk", f"ff-{TRACE_ID}-00f067aa0ba902b7-01", f"00-{'0' * 32}-{'1' * 16}-01"])
def test_a_broken_traceparent_is_ignored(service: ServiceProcess, client: httpx.Client, traceparent: str) -> None:
    answer = client.get("/models", headers={"traceparent": traceparent})
    assert answer.status_code == 200
    assert "trace_id" not in service.wait_for("request", request_id=answer.headers["x-request-id"])


def test_every_operation_and_every_field_is_documented(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert {operation["operationId"] for operation in operations} == {
        "generate", "score", "encode", "reconstruct",
        "list_models", "get_model", "get_version", "healthz", "readyz", "metrics", "get_sample", "head_sample",
        "get_reference",
        "v2_server", "v2_live", "v2_ready", "v2_statistics", "v2_index", "v2_load", "v2_unload", "v2_infer",
        "v2_infer_version", "v2_model", "v2_model_version", "v2_model_ready", "v2_model_version_ready",
        "v2_model_config", "v2_model_version_config", "v2_model_statistics", "v2_model_version_statistics",
    }  # fmt: skip
    assert all(operation["summary"] and operation["description"] for operation in operations)
    parameters = [parameter for operation in operations for parameter in operation.get("parameters", [])]
    assert [parameter["name"] for parameter in parameters if not parameter.get("description")] == []
    schemas = document["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []
    fields = {
        f"{name}.{field}": said for name, schema in schemas.items() for field, said in schema["properties"].items()
    }
    assert [field for field, said in fields.items() if not said.get("description")] == []


def test_the_document_asks_the_service_where_it_was_found_itself(client: httpx.Client) -> None:
    (server,) = client.get("/openapi.json").json()["servers"]
    assert urljoin("https://gan.example/prefix/openapi.json", server["url"]) == "https://gan.example/prefix/"


def test_every_reference_of_the_document_leads_somewhere(client: httpx.Client) -> None:
    document = client.get("/openapi.json").json()

    def references(node: object) -> list[str]:
        match node:
            case {"$ref": str(reference)}:
                return [reference]
            case dict():
                return [found for value in node.values() for found in references(value)]
            case list():
                return [found for value in node for found in references(value)]
        return []

    found = references(document)
    assert "#/components/schemas/GenerateRequest" in found
    assert {reference.rsplit("/", 1)[1] for reference in found} <= document["components"]["schemas"].keys()


@pytest.mark.parametrize("model", [GenerateRequest, SamplesRequest])
def test_the_examples_of_a_body_are_valid_bodies(client: httpx.Client, model: type[BaseModel]) -> None:
    schema = client.get("/openapi.json").json()["components"]["schemas"][model.__name__]
    fields = [{name: each} for name, said in schema["properties"].items() for each in said.get("examples", [])]
    for example in schema["examples"] + fields:
        model.model_validate_json(json.dumps(example))
    assert len(fields) > 5


@pytest.mark.parametrize("path", ["/score", "/encode", "/reconstruct"])
def test_every_way_to_give_samples_is_documented(client: httpx.Client, path: str) -> None:
    content = client.get("/openapi.json").json()["paths"][path]["post"]["requestBody"]["content"]
    assert content.keys() == {
        "application/json", "application/x-npy", "image/jpeg", "image/png", "image/webp", "multipart/form-data",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "unlike_generate"),
    [("/generate", set()), ("/reconstruct", set()), ("/score", {"406"}), ("/encode", {"406"})],
)
def test_every_error_that_a_route_answers_is_documented(
    client: httpx.Client, path: str, unlike_generate: set[str]
) -> None:
    responses = client.get("/openapi.json").json()["paths"][path]["post"]["responses"]
    every = {"200", "400", "404", "406", "408", "413", "415", "422", "429", "431", "500", "503", "504"}
    assert responses.keys() == every - unlike_generate
    assert all("application/problem+json" in responses[status]["content"] for status in responses if status != "200")


def test_the_document_has_a_page(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    named = re.findall(r"""(?:src|href|url)=?:?\s*["']([^"']+)""", page.text)
    assert len(named) == 4  # script, style, icon, document
    assert all(client.get(f"/{name}").status_code == 200 for name in named)
