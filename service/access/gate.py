"""The key that a request presents, and which paths need none.

    Authorization: Bearer KEY        X-API-Key: KEY        one of them; both only with the same key

Open without a key are health, which orchestrators ask, and what is the same in every installation: the documentation
and the files of the playground, which a browser asks for without headers. Everything else needs one, unknown paths too,
so that a path that is spelt in an odd way is never less protected than its plain form. What only some roles may do, the
routes ask themselves: they know that they are meant, and no path does.

References:
    RFC 6750, Bearer Token Usage (2012): §2.1, §3.
    RFC 9110, HTTP Semantics: §11.6.1 (WWW-Authenticate).
"""

from collections.abc import Collection, Mapping
from typing import Final

from service.access.key_file import KeyFile
from service.access.keys import LONGEST_KEY, SHORTEST_KEY, Key
from service.errors import Unauthorized

SCHEME: Final = "bearer "
HOW: Final = "send it as `Authorization: Bearer KEY` or as `X-API-Key: KEY`"


class Gate:
    """Lets requests in that have a key, or need none.

    Args:
        file: of the keys.
        open_paths: that need none.
        open_folders: below which no path needs one; each ends with a slash.

    Attributes:
        file: as given, and so are `open_paths`.
    """

    def __init__(self, file: KeyFile, open_paths: Collection[str], open_folders: Collection[str] = ()) -> None:
        self.file = file
        self.open_paths = frozenset(open_paths)
        self._open_folders = tuple(open_folders)

    def key_of(self, path: str, headers: Mapping[str, str]) -> Key | None:
        """Find the key of a request.

        Args:
            path: of the request, as routes are matched with it.
            headers: by name in lower case.

        Returns:
            The key; None where the path needs none.

        Raises:
            Unauthorized: it has none, two, or one that is not in the file.
        """
        if path in self.open_paths or path.startswith(self._open_folders):
            return None
        presented = _presented(headers)
        if presented is None:
            raise Unauthorized(f"this needs a key; {HOW}")
        key = self.file.keys.find(presented) if SHORTEST_KEY <= len(presented) <= LONGEST_KEY else None
        if key is None:
            raise Unauthorized("the service does not know this key")
        return key


def _presented(headers: Mapping[str, str]) -> str | None:
    """What a request presents as its key; a name that came twice has one list of values, which is no key."""
    key, credentials = headers.get("x-api-key"), headers.get("authorization")
    if credentials is None or credentials[: len(SCHEME)].lower() != SCHEME:
        return key  # a proxy may have credentials of its own there
    token = credentials[len(SCHEME) :].strip()
    if key is not None and key != token:
        raise Unauthorized(f"this has two different keys; send one, and {HOW.removeprefix('send it ')}")
    return token
