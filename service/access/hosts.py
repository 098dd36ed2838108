"""Which address a service may listen on, which `Host` a request may name, and how many parameters its address may have.

A web page may have its own name lead to 127.0.0.1 (DNS rebinding), and then read what a service answers there, since to
the browser it is one site. What the page cannot do is to send another `Host` than its own name. So a service that
listens on loopback answers to `localhost`, to addresses and to names without a dot (none of which a page of the
internet has) and to the names that its operator lists; one that listens elsewhere answers to every name, unless some
are listed.

References:
    RFC 9110, HTTP Semantics: §7.2 (Host).
    CWE-350, reliance on reverse DNS resolution; CWE-400, uncontrolled resource consumption.
"""

from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from service.errors import Forbidden, InvalidRequest, Problem

ANY: Final = "*"
LOCAL: Final = "localhost"
# The words of GANYMEDE_WITHOUT_KEYS.
ANYONE: Final = "anyone-may-use-it"
PUBLISHED_ON: Final = "published-on-"
# Callers name a service in few ways; one that invents names pays for them alone.
KNOWN_HOSTS: Final = 256
# Of one request's parameters: what a class and a condition for each of a thousand samples take.
MAX_PARAMETERS: Final = 4_096
# Of different names; no route knows a dozen, and each unknown one costs a sentence.
MAX_PARAMETER_NAMES: Final = 64


class AllowedHosts:
    """Which hosts a service answers for.

    Args:
        named: the operator's list, separated by commas: a name, `*.NAME` for those below it, `*` for all; may be empty.
        listens_on: the name or the address that the service listens on.
    """

    def __init__(self, named: str, listens_on: str) -> None:
        names = {name for each in named.split(",") if (name := each.strip().lower().rstrip("."))}
        self._answers_all = ANY in names or (not names and not is_loopback(listens_on))
        self._names = frozenset(names)
        self._endings = tuple(name.removeprefix(ANY) for name in ("*." + LOCAL, *names) if name.startswith(ANY))
        self.include = lru_cache(maxsize=KNOWN_HOSTS)(self._include)

    def check(self, host: str | None) -> None:
        """Pass a request with this `Host`.

        Raises:
            Forbidden: it is for another host.
        """
        if not self.include(host):
            raise Forbidden(
                "the service does not answer for this Host; its operator may add the name to GANYMEDE_ALLOWED_HOSTS"
            )

    def _include(self, host: str | None) -> bool:
        """Whether a request with this `Host` is answered; HTTP/1.0 has none."""
        if self._answers_all or not host:
            return True
        name = _without_port(host).lower().rstrip(".")
        return "." not in name or name in self._names or name.endswith(self._endings) or _is_address(name)


def why_not_listen(host: str, keys_file: str, without_keys: str) -> str | None:
    """Why a service may not listen on an address: others reach it, no keys are asked for, and no one said so.

    Args:
        host: name or address.
        keys_file: as the setting of this name, and so is `without_keys`.

    Returns:
        One sentence for the operator; None where it may.
    """
    published_on = without_keys.removeprefix(PUBLISHED_ON) if without_keys.startswith(PUBLISHED_ON) else ""
    if is_loopback(host) or keys_file or without_keys == ANYONE or is_loopback(published_on):
        return None
    return (
        f"others reach the address {host}, and there are no keys: make some (`python -m service key NAME "
        f"--file keys.toml`) and set GANYMEDE_KEYS_FILE, or listen on 127.0.0.1, or set GANYMEDE_WITHOUT_KEYS={ANYONE}"
    )


def check_query(query: bytes) -> None:
    """Pass queries that do not have more parameters than any route takes.

    Raises:
        InvalidRequest: this one has.
    """
    if query.count(b"&") < MAX_PARAMETER_NAMES:
        return
    parameters = query.split(b"&")
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidRequest(Problem(("query",), f"at most {MAX_PARAMETERS} parameters in one address"))
    if len({parameter.partition(b"=")[0] for parameter in parameters}) > MAX_PARAMETER_NAMES:
        raise InvalidRequest(Problem(("query",), f"at most {MAX_PARAMETER_NAMES} different parameters in one address"))


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether only programs on this host reach what listens on this name or address."""
    return name.lower() == LOCAL or (_is_address(name) and ip_address(name).is_loopback)
