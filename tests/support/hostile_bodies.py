"""Makes request bodies of maximal cost: at every place of a JSON schema, values that are costly to parse or to refuse.

The places come from the OpenAPI document, so that new fields are covered.
"""

from collections.abc import Iterator, Mapping
from typing import Any

Place = tuple[str, ...]  # field names; "0" for the element of a list
JSON = "application/json"
# Each maximises one count: values, lists, objects, strings, errors.
FILLERS: Mapping[str, bytes] = {
    "integers": b"0,",
    "numbers": b"0.5,",
    "lists": b"[],",
    "objects": b"{},",
    "strings": b'"ab",',
    "nulls": b"null,",
}


def json_bodies(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the path of every operation with a JSON body, and the body's schema."""
    for path, operations in document["paths"].items():
        for operation in operations.values():
            content = operation.get("requestBody", {}).get("content", {})
            if JSON in content:
                yield path, content[JSON]["schema"]


def places(schema: Mapping[str, Any], document: Mapping[str, Any], depth: int = 6) -> set[Place]:
    """Return every place of a value in a body: the body itself, each field, each element, at any depth."""
    found: set[Place] = {()}
    if depth == 0:
        return found
    if "$ref" in schema:
        return places(document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], document, depth)
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        found |= places(branch, document, depth)
    below = dict(schema.get("properties", {}))
    if isinstance(items := schema.get("items"), dict):
        below["0"] = items
    if isinstance(others := schema.get("additionalProperties"), dict):
        below["any"] = others
    for name, inner in below.items():
        found |= {(name, *place) for place in places(inner, document, depth - 1)}
    return found


def list_at(place: Place, filler: bytes, size: int) -> bytes:
    """Make a body of about `size` bytes with a list of one repeated value at a place."""
    return _at(place, b"[" + filler * (size // len(filler)) + filler.removesuffix(b",") + b"]")


def object_at(place: Place, size: int) -> bytes:
    """Make a body of about `size` bytes with an object of unknown fields at a place."""
    count = size // len(b'"u0000000":0,')
    return _at(place, b"{" + b",".join(b'"u%07d":0' % number for number in range(count)) + b"}")


def _at(place: Place, value: bytes) -> bytes:
    for name in reversed(place):
        value = b"[%b]" % value if name == "0" else b'{"%b":%b}' % (name.encode(), value)
    return value
