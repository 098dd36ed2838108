"""What a request's line and headers must be before more of it is read: rules of HTTP that the parser leaves out.

    method, version, URL, headers ──▶ check_head ──▶ nothing, or the error that ends the connection
                                  └─▶ without_offer ──▶ the same head as bytes, with no offer to change the protocol
    path ──▶ below ──▶ the path without the prefix that a proxy left before it

llhttp reads requests without a Host, with two, of any version, and with codings of the body that are not decoded here;
and it stops reading where a client offers another protocol, as if the offer had been taken. Pure functions.

References:
    RFC 9110, HTTP Semantics: §7.8 (Upgrade), §9.3.6 (CONNECT), §15.6.2 (501), §15.6.6 (505).
    RFC 9112, HTTP/1.1: §3.2 (Host), §6.1 (Transfer-Encoding), §9.3 (versions before 1.1).
"""

from collections.abc import Sequence

from service.errors import HeadersTooLarge, MalformedRequest, NotSupported, VersionNotSupported

# Four times what proxies take; traces, cookies and tokens fit.
MAX_HEADER_BYTES = 32 * 1024
# What Apache takes (LimitRequestFields); browsers send some fifteen.
MAX_HEADERS = 100
VERSIONS = ("1.0", "1.1")
# ": " and the end of the line, of each header.
_BYTES_BETWEEN = 4

Headers = Sequence[tuple[bytes, bytes]]


def below(root_path: str, path: str) -> str:
    """The path that a request means.

    Args:
        root_path: prefix that a proxy may leave before it, without a slash at its end; may be empty.
        path: as it came.
    """
    inside = path.removeprefix(root_path)
    return inside if inside.startswith("/") else path


def check_head(method: bytes, version: str, url: bytes, headers: Headers) -> None:
    """Pass what may be read on.

    Args:
        method: of the request.
        version: of HTTP, as "1.1".
        url: as it stands in the request line.
        headers: names in lower case.

    Raises:
        HeadersTooLarge: there are too many of them, or too many bytes.
        MalformedRequest: it does not say which host it is for, or says so twice; or its body has no sure end.
        NotSupported: it asks for a tunnel, or its body is packed in a way that is not undone here.
        VersionNotSupported: it is not HTTP/1.0 or HTTP/1.1.
    """
    if version not in VERSIONS:
        raise VersionNotSupported("this service speaks HTTP/1.1 and HTTP/1.0")
    size, hosts, codings = len(url), 0, b""
    for name, value in headers:
        size += len(name) + len(value) + _BYTES_BETWEEN
        if name == b"host":
            hosts += 1
        elif name == b"transfer-encoding":
            codings += b"," + value.lower()
    if size > MAX_HEADER_BYTES or len(headers) > MAX_HEADERS:
        raise too_large()
    if hosts > 1 or (hosts == 0 and version == "1.1"):
        raise MalformedRequest("a request names its host in one Host header")
    if method == b"CONNECT":
        raise NotSupported("this service opens no tunnels")
    if codings:
        _check_codings([coding.strip() for coding in codings.split(b",") if coding.strip()], version)


def _check_codings(codings: list[bytes], version: str) -> None:
    if version == "1.0" or not codings or codings[-1] != b"chunked":
        raise MalformedRequest("the body of a request ends where Content-Length or chunks say so")
    if len(codings) > 1:
        raise NotSupported("a body comes in chunks and in no other transfer coding")


def too_large() -> HeadersTooLarge:
    """Word the refusal of a head that is too large."""
    return HeadersTooLarge(
        f"the address and the headers of a request may have {MAX_HEADER_BYTES} bytes, and the headers be {MAX_HEADERS}"
    )


def without_offer(method: bytes, version: str, url: bytes, headers: Headers) -> bytes:
    """Write a head anew, without what offers another protocol.

    Args:
        method: of the request.
        version: of HTTP, as "1.1".
        url: as it stands in the request line.
        headers: names in lower case.
    """
    lines = [b"%b %b HTTP/%b" % (method, url, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join((*lines, b"", b""))
