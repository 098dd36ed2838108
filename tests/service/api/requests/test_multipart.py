"""Forms: parts named `file`, whole and in order."""

import time

import httpx
import pytest

from service.api.requests.body import read_files
from service.errors import InvalidRequest, MalformedRequest

BOUNDARY = "multipart/form-data; boundary=edge"
DISPOSITION = b'Content-Disposition: form-data; name="file"'
ANY_BYTES = bytes(range(256)) + b"\r\n--edg"  # every byte, and nearly the boundary


def form(*parts: tuple[str, bytes]) -> tuple[bytes, str]:
    """A form as a real client writes it."""
    request = httpx.Request(
        "POST", "http://localhost", files=[(name, ("name.png", content, "image/png")) for name, content in parts]
    )
    return request.read(), request.headers["content-type"]


def test_parts_come_out_as_they_went_in() -> None:
    body, content_type = form(("file", ANY_BYTES), ("file", b""), ("file", b"two\r\nlines"))
    assert read_files(body, content_type, max_files=3) == [ANY_BYTES, b"", b"two\r\nlines"]


def test_a_part_of_another_name_is_refused_by_its_name() -> None:
    body, content_type = form(("file", b"1"), ("picture", b"2"))
    with pytest.raises(InvalidRequest) as refused:
        read_files(body, content_type, max_files=3)
    assert refused.value.problems[0].loc == ("body", "picture")


def test_more_parts_than_allowed_are_refused() -> None:
    body, content_type = form(*[("file", b"1")] * 3)
    with pytest.raises(InvalidRequest, match="at most 2"):
        read_files(body, content_type, max_files=2)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--edge--\r\n", "multipart/form-data"),
        (b"--other\r\n\r\n\r\n--other--\r\n", BOUNDARY),
        (b'--edge\r\nContent-Disposition: form-data; name="file"\r\n\r\ncut', BOUNDARY),
        (b"--edge\r\n: no name\r\n\r\n\r\n--edge--\r\n", BOUNDARY),
        (b"--edge--\r\n", f"multipart/form-data; boundary={'x' * 300}"),
        (b"--edge\r\n" + DISPOSITION + b"\r\n" + DISPOSITION + b"\r\n\r\n1\r\n--edge--\r\n", BOUNDARY),
        (b"--edge\r\n" + DISPOSITION + b";a" * 17 + b"\r\n\r\n1\r\n--edge--\r\n", BOUNDARY),
    ],
    ids=[
        "no boundary",
        "another boundary",
        "cut short",
        "broken header",
        "boundless boundary",
        "two names",
        "parameters",
    ],
)
def test_a_form_that_cannot_be_read_is_malformed(body: bytes, content_type: str) -> None:
    with pytest.raises(MalformedRequest):
        read_files(body, content_type, max_files=1)


def test_a_form_without_files_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no part named `file`"):
        read_files(b"--edge--\r\n", BOUNDARY, max_files=1)


@pytest.mark.alone
@pytest.mark.parametrize("headers", [DISPOSITION + b";a" * 1_900, b"\r\n".join([DISPOSITION + b";a" * 1_900] * 8)])
def test_headers_of_parts_cost_no_more_than_their_bytes(headers: bytes) -> None:
    body = (b"--edge\r\n" + headers + b"\r\n\r\n1\r\n") * 500 + b"--edge--\r\n"
    began = time.perf_counter()
    with pytest.raises(MalformedRequest):
        read_files(body, BOUNDARY, max_files=1_024)
    assert time.perf_counter() - began < 0.3


def test_a_name_that_a_caller_made_up_is_quoted_briefly(client: httpx.Client) -> None:
    body, content_type = form(("a" * 2_000, b"1"))
    answer = client.post("/score", content=body, headers={"content-type": content_type})
    assert answer.status_code == 422
    assert len(answer.content) < 1_000
