"""GET /: the playground, a page on which people look at what is served, with scripts and style from memory.

Files have a path with the SHA-256 of all of them, so that a browser keeps them for a year and never mixes two releases.
Every address in the page is relative, so that it works behind any prefix of a proxy.

References:
    W3C, Content Security Policy Level 3.
    RFC 9110, HTTP Semantics: §8.8.3 (ETag), §13.1.2 (If-None-Match).
    RFC 8246, HTTP Immutable Responses (2017).
"""

import hashlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

PAGE: Final = "index.html"
# In the page, where the digest of its files belongs, and where a browser is told of all scripts at once: found one
# import after the other, each would wait for the one before.
DIGEST: Final = "{digest}"
PRELOADS: Final = "{preloads}"
DIGEST_CHARACTERS: Final = 16
MEDIA_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Nothing inline, nothing from another host, no page around this one. Samples are `data:` addresses of JSON answers,
# drawings `blob:`.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
    "trusted-types 'none'"
)
SECURITY: Final[Mapping[str, str]] = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",  # for browsers that do not know frame-ancestors
}
CHECK_AGAIN: Final = "no-cache"
IMMUTABLE: Final = "public, max-age=31536000, immutable"
NEVER_KEEP: Final = "no-store"
# Where its files are, beside the page at `/`.
FOLDERS: Final = ("/playground/",)


class Playground:
    """The page and its files, read once.

    Args:
        folder: where they are.
    """

    def __init__(self, folder: Traversable | None = None) -> None:
        self._files = dict(_read(files("service.playground") / "static" if folder is None else folder))
        digest = hashlib.sha256()
        for path, content in sorted(self._files.items()):
            digest.update(f"{path} {len(content)}\n".encode() + content)
        self._digest = digest.hexdigest()[:DIGEST_CHARACTERS]
        page = self._files.pop(PAGE).decode()
        scripts = sorted(path for path in self._files if path.endswith(".js"))
        links = "\n".join(f'<link rel="modulepreload" href="playground/{DIGEST}/{path}">' for path in scripts)
        self._page = page.replace(PRELOADS, links).replace(DIGEST, self._digest).encode()
        self._etag = f'"{self._digest}"'

    def router(self) -> APIRouter:
        """Make the routes of the page and of its files."""
        router = APIRouter()
        router.add_route("/", self._answer_page, ["GET"], include_in_schema=False)
        router.add_route("/playground/{digest}/{path:path}", self._answer_file, ["GET"], include_in_schema=False)
        return router

    async def _answer_page(self, request: Request) -> Response:
        headers = {**SECURITY, "cache-control": CHECK_AGAIN, "etag": self._etag}
        named = [each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")]
        if self._etag in named or named == ["*"]:
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(self._page, headers=headers, media_type=MEDIA_TYPES["html"])

    async def _answer_file(self, request: Request) -> Response:
        path = request.path_params["path"]
        content = self._files.get(path)
        if content is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        # Between two releases behind one address the page may come from the other.
        kept = IMMUTABLE if request.path_params["digest"] == self._digest else NEVER_KEEP
        media_type = MEDIA_TYPES[path.rpartition(".")[2]]
        return Response(content, headers={**SECURITY, "cache-control": kept}, media_type=media_type)


def _read(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file that a browser may ask for."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _read(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            yield prefix + entry.name, entry.read_bytes()
