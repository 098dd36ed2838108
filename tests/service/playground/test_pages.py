"""The page at `/` and its files, as a browser's cache and its security policy see them."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "service/playground/static"
FILES = sorted(str(path.relative_to(STATIC)) for path in STATIC.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def digest(client: httpx.Client) -> str:
    found: set[str] = set(re.findall(r'"playground/([0-9a-f]{16})/', client.get("/").text))
    assert len(found) == 1
    return found.pop()


def test_the_page_is_checked_again_each_time_and_sent_once(client: httpx.Client) -> None:
    first = client.get("/")
    assert first.headers["content-type"] == "text/html; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    for named in (first.headers["etag"], f'"another", W/{first.headers["etag"]}', "*"):
        again = client.get("/", headers={"if-none-match": named})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert client.get("/", headers={"if-none-match": '"another"'}).status_code == 200
    head = client.head("/")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(first.content)))


def test_a_file_is_kept_for_a_year_under_the_digest_of_all_of_them(client: httpx.Client, digest: str) -> None:
    for path in FILES:
        answer = client.get(f"/playground/{digest}/{path}")
        if path == "index.html":
            assert answer.status_code == 404
            continue
        assert answer.content == (STATIC / path).read_bytes()
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        other = client.get(f"/playground/0123456789abcdef/{path}")
        assert (other.content, other.headers["cache-control"]) == (answer.content, "no-store")


@pytest.mark.parametrize(
    "path", ["", "none.js", "../pages.py", "%2e%2e/pages.py", "panels", "panels/", "main.js/", "%00"]
)
def test_there_is_nothing_beside_the_files(client: httpx.Client, digest: str, path: str) -> None:
    answer = client.get(f"/playground/{digest}/{path}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_nothing_inline_and_no_other_host_may_act_in_the_page(client: httpx.Client, digest: str) -> None:
    for path in ("/", f"/playground/{digest}/main.js", f"/playground/{digest}/icon.svg"):
        headers = client.get(path).headers
        policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_a_page_that_posts_is_told_what_is_allowed(client: httpx.Client) -> None:
    answer = client.post("/")
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (405, {"GET", "HEAD"})


def test_the_document_of_the_api_does_not_list_the_page(client: httpx.Client) -> None:
    assert [path for path in client.get("/openapi.json").json()["paths"] if "playground" in path or path == "/"] == []


def test_a_built_wheel_has_the_files(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    for folder in ("service", "training"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools.build_meta import build_wheel; build_wheel('out')"
    (tmp_path / "out").mkdir()
    subprocess.run([sys.executable, "-c", build], cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as files:
        names = set(files.namelist())
    assert {f"service/playground/static/{path}" for path in FILES} <= names
