"""What an object store holds of packages, read by fsspec: one listing, and files one by one.

fsspec and what it needs for a kind of store are extras, imported when a store is first read.
"""

import errno
import importlib.util
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from service.engine.model_spec import PackageKey
from service.errors import FileDamaged
from service.packages.files import MANIFEST
from service.packages.repository.scan import VERSION
from service.settings import MODEL_NAME

# Beyond it the URL names a whole bucket of other things by mistake, and every look would list all of it.
MAX_OBJECTS: Final = 100_000
# A transfer that goes on below this rate for this long is given up; the next look begins it again.
LEAST_BYTES_S: Final = 16 * 1024
SLOW_S: Final = 30.0
MAX_QUOTED: Final = 200  # characters of a library's own words
# s3fs' default holds ten parts of 50 MiB in memory, and both it and botocore repeat a request five times.
OPTIONS: Final[Mapping[str, Mapping[str, object]]] = {
    "s3": {
        "max_concurrency": 1,
        "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 3}},
    }
}
NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED_NAMES: Final = frozenset({"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"})
REFUSED_STATUSES: Final = frozenset({401, 403})


class Object(NamedTuple):
    """One object of a listing.

    Attributes:
        path: in the store.
        size: in bytes; None where the store does not say.
        stamp: all that the listing says of it (its ETag, its time), which changes with its content.
    """

    path: str
    size: int | None
    stamp: str


Objects = dict[str, Object]  # by bare file name


class Listing(NamedTuple):
    """What a store holds.

    Attributes:
        packages: the files of each folder NAME/VERSION that has a manifest.
        root: the files beside those folders; with a manifest, and without such folders, they are one package.
    """

    packages: dict[PackageKey, Objects]
    root: Objects


class Store:
    """A folder of an object store.

    Args:
        url: as fsspec reads it.

    Attributes:
        shown: the URL without what may be secret in it.
    """

    def __init__(self, url: str) -> None:
        self.shown = without_secrets(url)
        self._url = url
        self._opened: tuple[Any, str] | None = None

    def listing(self) -> Listing:
        """List what there is.

        Raises:
            FileDamaged: it cannot be read; the message says what to do.
        """
        if self._opened is None and (missing := what_is_missing(self._url)) is not None:
            raise FileDamaged(f"{self.shown}: {missing}")
        try:
            files, root = self._open()
            files.invalidate_cache()
            found = files.find(root, detail=True)
        except Exception as error:
            if _is_refusal(error):
                self._opened = None  # credentials are read again
            raise FileDamaged(f"{self.shown}: {_why(error)}") from error
        if len(found) > MAX_OBJECTS:
            raise FileDamaged(
                f"{self.shown}: holds {len(found)} objects, of which at most {MAX_OBJECTS} are listed; name the folder "
                "that holds the packages alone"
            )
        packages: dict[PackageKey, Objects] = {}
        alone: Objects = {}
        for path, info in found.items():
            match path.removeprefix(root).removeprefix("/").split("/"):
                case [name, version, file] if MODEL_NAME.fullmatch(name) and VERSION.fullmatch(version):
                    packages.setdefault(PackageKey(name, int(version)), {})[file] = _object(path, info)
                case [file]:
                    alone[file] = _object(path, info)
        return Listing({key: objects for key, objects in packages.items() if MANIFEST in objects}, alone)

    def fetch(self, found: Object, target: Path, max_bytes: int, is_stopped: Callable[[], bool]) -> None:
        """Write an object to a file of this host.

        Args:
            found: of a listing.
            target: the file.
            max_bytes: more is refused while it arrives.
            is_stopped: whether to give up; asked while bytes arrive.

        Raises:
            FileDamaged: the store does not give it, or gives too much, or too slowly; or this host cannot take it.
        """
        from fsspec.callbacks import Callback  # noqa: PLC0415  (an extra)

        name, began = target.name, time.monotonic()

        def look(_: int | None, arrived_bytes: int) -> None:
            elapsed_s = time.monotonic() - began
            if arrived_bytes > max_bytes:
                raise FileDamaged(f"{name}: more than the {max_bytes} bytes expected arrive from the store")
            if elapsed_s > SLOW_S and arrived_bytes < LEAST_BYTES_S * elapsed_s:
                raise FileDamaged(
                    f"{name}: {arrived_bytes} bytes arrived from the store in {elapsed_s:.0f} s, which is too slow"
                )
            if is_stopped():
                raise FileDamaged(f"{name}: the service ends")

        try:
            files, _ = self._open()
            files.get_file(found.path, str(target), callback=Callback(hooks={"limits": look}))
        except FileDamaged:
            raise
        except FileNotFoundError as error:
            raise FileDamaged(f"{name}: is no longer in the store") from error
        except Exception as error:
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise FileDamaged(f"{name}: the cache of packages has no room for it ({error.strerror})") from error
            raise FileDamaged(f"{name}: {_why(error)}") from error

    def _open(self) -> tuple[Any, str]:
        if self._opened is None:
            from fsspec.core import url_to_fs  # noqa: PLC0415  (an extra)

            options = OPTIONS.get(_protocol(self._url), {})
            files, root = url_to_fs(self._url, skip_instance_cache=True, **options)
            self._opened = files, root.rstrip("/")
        return self._opened


def what_is_missing(url: str) -> str | None:
    """What must be installed to read a URL, one sentence; None where it can be read."""
    extra = "install the extra for object storage: pip install 'ganymede-gan[storage]'"
    if importlib.util.find_spec("fsspec") is None:
        return f"this needs fsspec; {extra}"
    from fsspec.registry import known_implementations  # noqa: PLC0415  (an extra)

    protocol = _protocol(url)
    if protocol not in known_implementations:
        return f"fsspec knows no {protocol}://; it knows s3://, gs://, hf://, az:// and others"
    package = known_implementations[protocol]["class"].partition(".")[0]
    if importlib.util.find_spec(package) is None:
        return f"this needs {package}; {extra if package == 's3fs' else f'pip install {package}'}"
    return None


def without_secrets(url: str) -> str:
    """A URL, or a text with some, without users, passwords, queries and fragments."""
    return re.sub(r"(?<=://)[^/@\s]*@|[?#][^\s\"']*", "", url)


def _protocol(url: str) -> str:
    """The kind of store: of a chain as in `simplecache::s3://…` the first."""
    return re.split("::|://", url, maxsplit=1)[0]


def _object(path: str, info: Mapping[str, Any]) -> Object:
    size = info.get("size")
    return Object(path, size if isinstance(size, int) else None, repr(sorted(info.items(), key=lambda item: item[0])))


def _why(error: Exception) -> str:
    """Why a store cannot be read, for its operator."""
    if _is_refusal(error):
        return (
            f"the store refuses the service's credentials ({_quoted(error)}); give it those of a reader, for S3 by "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, by a file of credentials or by a role"
        )
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or folder ({_quoted(error)})"
    return f"the store cannot be read ({type(error).__name__}: {_quoted(error)})"


def _is_refusal(error: Exception) -> bool:
    """Whether a store refuses the credentials, or finds none."""
    status = getattr(error, "code", None)
    return isinstance(error, PermissionError) or type(error).__name__ in REFUSED_NAMES or status in REFUSED_STATUSES


def _quoted(error: Exception) -> str:
    return without_secrets(" ".join(str(error).split()))[:MAX_QUOTED]
