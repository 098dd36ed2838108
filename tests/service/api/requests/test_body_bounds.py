"""Whatever a request may hold, only a few mistakes of it are ever described: held to every type that is validated."""

from collections.abc import Iterator

import pytest
from pydantic import BaseModel, TypeAdapter

from service.api.requests.body import AT_ONCE_BYTES, validate_json
from service.api.requests.sample_url import SampleQuery
from service.api.schemas.requests import GenerateQuery, GenerateRequest, ReconstructQuery, SamplesQuery, SamplesRequest
from service.api.v2 import schemas as v2
from service.errors import InvalidRequest, RequestError

BODIES: tuple[type[BaseModel], ...] = (GenerateRequest, SamplesRequest, *v2.BODIES)
QUERIES: tuple[type[BaseModel], ...] = (GenerateQuery, SamplesQuery, ReconstructQuery, SampleQuery)


def parts(node: object) -> Iterator[dict[str, object]]:
    """Walk through a schema of pydantic's core."""
    if isinstance(node, dict):
        if isinstance(node.get("type"), str):
            yield node
        for each in node.values():
            yield from parts(each)
    elif isinstance(node, list | tuple):
        for each in node:
            yield from parts(each)


def mistakes(model: type[BaseModel], body: bytes) -> int:
    try:
        validate_json(model, body)
    except InvalidRequest as error:
        return len(error.problems)
    except RequestError:
        return 1
    return 0


@pytest.mark.parametrize("model", BODIES + QUERIES)
def test_a_list_or_a_mapping_is_left_at_its_first_mistake(model: type[BaseModel]) -> None:
    schema = TypeAdapter(model).core_schema
    manifold = [part for part in parts(schema) if part["type"] in {"list", "dict", "tuple", "set", "frozenset"}]
    assert [part for part in manifold if not part.get("fail_fast")] == []


@pytest.mark.parametrize("model", BODIES)
@pytest.mark.parametrize("filler", [b"0,", b"{},", b"[],", b'"a",', b'{"a":0},'])
def test_a_list_of_anything_at_any_place_of_a_small_body_has_few_mistakes(
    model: type[BaseModel], filler: bytes
) -> None:
    for name, field in model.model_fields.items():
        head = b'{"%b":[' % (field.alias or name).encode()
        body = head + filler * ((AT_ONCE_BYTES - 100) // len(filler)) + b"0]}"
        assert mistakes(model, body) < 10
