"""Who may change what is served: a dependency that lets a request through or answers 403.

Loading and unloading are for operators. By default these are the programs on the same host, since nobody else can
connect from a loopback address. A browser on that host can be sent by any web page, and says so by an `Origin`; it
is not let through. Behind a proxy on the same host that adds no `X-Forwarded-For` everybody looks local: there, choose
`nobody`.
"""

from ipaddress import IPv6Address, ip_address

from fastapi import Depends, Request

from service.errors import Forbidden
from service.routes.context import Parts
from service.settings import Control


def check_caller(control: Control, host: str | None, origin: str | None) -> None:
    """Pass whoever may change what is served.

    Args:
        control: what the operator chose.
        host: the caller's address; None where it has none.
        origin: the web page that sent it; None where it was none.

    Raises:
        Forbidden: the caller may not.
    """
    if control == "nobody":
        raise Forbidden("models are neither loaded nor unloaded over HTTP here")
    if control == "loopback" and origin is not None:
        raise Forbidden("a web page may not load or unload models")
    if control == "loopback" and not _is_loopback(host):
        raise Forbidden("models are loaded and unloaded only by programs on the service's own host")


def _is_loopback(host: str | None) -> bool:
    try:
        address = ip_address(host or "")
    except ValueError:  # a socket that is no network's, or a name that a proxy made up
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


async def check_control(request: Request, parts: Parts) -> None:
    """Pass requests of those who may change what is served.

    Raises:
        Forbidden: as `check_caller`.
    """
    host = None if request.client is None else request.client.host
    check_caller(parts.settings.repository_control, host, request.headers.get("origin"))


OperatorsOnly = Depends(check_control)
