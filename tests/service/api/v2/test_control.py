"""Who may change what is served; that the routes ask is a matter of `tests/live/test_lifecycle.py`."""

import pytest

from service.access.keys import Key
from service.api.v2.repository import check_caller
from service.errors import Forbidden
from service.settings import Control


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"])
def test_programs_on_the_same_host_may(host: str) -> None:
    check_caller("loopback", host, origin=None)


@pytest.mark.parametrize(
    "host", ["10.0.0.1", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1", "localhost", "unknown", "", None]
)  # fmt: skip
def test_others_may_not(host: str | None) -> None:
    with pytest.raises(Forbidden, match="only by programs on the service's own host"):
        check_caller("loopback", host, origin=None)


@pytest.mark.parametrize("origin", ["https://example.org", "http://127.0.0.1:8000", "null", ""])
def test_a_web_page_may_not_even_from_the_same_host(origin: str) -> None:
    with pytest.raises(Forbidden, match="web page"):
        check_caller("loopback", "127.0.0.1", origin)


@pytest.mark.parametrize(("control", "allowed"), [("anyone", True), ("nobody", False)])
@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.1", None])
def test_the_operator_may_let_everybody_or_nobody(control: Control, allowed: bool, host: str | None) -> None:
    if allowed:
        check_caller(control, host, origin=None)
    else:
        with pytest.raises(Forbidden, match="neither loaded nor unloaded"):
            check_caller(control, host, origin=None)


@pytest.mark.parametrize("control", ["loopback", "key", "anyone"])
def test_a_key_for_inference_may_not_whatever_else_holds(control: Control) -> None:
    with pytest.raises(Forbidden, match="role admin"):
        check_caller(control, "127.0.0.1", None, Key("user", b"", "inference"))


def test_an_admin_key_may_from_anywhere_where_keys_decide_and_not_where_the_host_does() -> None:
    admin = Key("root", b"", "admin")
    check_caller("key", "192.0.2.1", "https://example.org", admin)
    check_caller("loopback", "127.0.0.1", None, admin)
    with pytest.raises(Forbidden, match="only by programs on the service's own host"):
        check_caller("loopback", "192.0.2.1", None, admin)
    with pytest.raises(Forbidden, match="neither loaded nor unloaded"):
        check_caller("nobody", "127.0.0.1", None, admin)
    with pytest.raises(Forbidden, match="with a key of the role admin"):
        check_caller("key", "127.0.0.1", None)
