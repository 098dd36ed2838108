"""What is served: where every version of every package stands, and which of them answers a request.

    unloaded ──▶ loading ──▶ ready ──▶ unloading ──▶ unloaded
                    └──────▶ refused

It is a book with answers, and nothing happens here: `repository.py` writes it, the routes read it, and copies of it in
other processes follow it. A version answers from the moment it is ready to the moment it is not, so that between two
versions of a model there is never none.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

from service.engine.config import Precision
from service.engine.model_spec import LoadReport, PackageKey
from service.errors import NotFound, NotReady
from service.packages.calibration import Calibration
from service.packages.schema import Manifest
from service.packages.unknown_label import UnknownLabelReader

# Loading one package takes about this long; a caller that waits less only asks again.
RETRY_AFTER_S = 2.0
MAX_QUOTED = 64  # characters of a caller's own words in a message

State = Literal["loading", "ready", "refused", "unloading", "unloaded"]


@dataclass(frozen=True, slots=True)
class ServedPackage:
    """A package that is ready.

    Attributes:
        key: name and version.
        manifest: what it says of itself.
        sha256: what identifies it.
        calibration: how its discriminator's logits are read; None without a discriminator.
        report: what loading it showed.
        unknown_label: how a sample is judged whose class is not named; None where it has to be.
    """

    key: PackageKey
    manifest: Manifest
    sha256: str
    calibration: Calibration | None
    report: LoadReport
    unknown_label: UnknownLabelReader | None = None

    @property
    def reduced_precision(self) -> Precision | None:
        """What its pictures are computed in, where that is less than fp32: every answer with one says so."""
        precision = self.report.generator.precision
        return None if precision == "fp32" else precision


@dataclass(frozen=True, slots=True)
class PackageStatus:
    """Where one version of one package stands.

    Attributes:
        key: name and version.
        state: `loading` includes waiting for its turn; `unloading` answers the requests it has, and no new ones.
        reason: why it was refused, one sentence for the operator; else None.
        package: what is served of it; None unless ready.
    """

    key: PackageKey
    state: State
    reason: str | None = None
    package: ServedPackage | None = None


class Listener(Protocol):
    """Whoever is told what is written into a registry; another registry is one."""

    def open(self) -> None:
        """As `PackageRegistry.open`."""
        ...

    def note(self, status: PackageStatus) -> None:
        """As `PackageRegistry.note`."""
        ...

    def forget(self, key: PackageKey) -> None:
        """As `PackageRegistry.forget`."""
        ...


class PackageRegistry:
    """Where every package stands.

    Args:
        default: name of the model that answers when a request names none.
    """

    def __init__(self, default: str) -> None:
        self._default = default
        self._statuses: dict[PackageKey, PackageStatus] = {}
        self._opened = False
        self._listeners: list[Listener] = []
        self._found: dict[tuple[str | None, str | int | None], ServedPackage] = {}  # until anything changes

    def add_listener(self, listener: Listener) -> None:
        """Tell a listener all that is written here, and from now on each change as it is written."""
        for status in self._statuses.values():
            listener.note(status)
        if self._opened:
            listener.open()
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Tell a listener nothing more."""
        self._listeners.remove(listener)

    def open(self) -> None:
        """Say that the folder has been looked at: from now on a package that is not here does not exist."""
        self._opened = True
        for listener in self._listeners:
            listener.open()

    def note(self, status: PackageStatus) -> None:
        """Write down where a package stands now."""
        self._found.clear()
        self._statuses[status.key] = status
        for listener in self._listeners:
            listener.note(status)

    def forget(self, key: PackageKey) -> None:
        """Strike a package out."""
        self._found.clear()
        del self._statuses[key]
        for listener in self._listeners:
            listener.forget(key)

    def get(self, key: PackageKey) -> PackageStatus | None:
        """Say where a package stands; None where nothing is known of it."""
        return self._statuses.get(key)

    def statuses(self, name: str | None = None) -> list[PackageStatus]:
        """Say where every package stands, or every version of one; by name, then the newest version first."""
        statuses = [status for status in self._statuses.values() if name in {None, status.key.name}]
        return sorted(statuses, key=lambda status: (status.key.name, -status.key.version))

    def newest_ready(self, name: str) -> ServedPackage | None:
        """Answer the newest version of a model that is ready; None where there is none."""
        return next((status.package for status in self.statuses(name) if status.package is not None), None)

    def find(self, model: str | None = None, version: str | int | None = None) -> ServedPackage:
        """Find a package that is ready.

        Args:
            model: its name; None is the default model.
            version: its version; None is the newest that is ready.

        Returns:
            The package.

        Raises:
            NotFound: there is no such package, or it is not served; the message says what there is.
            NotReady: it is still loading.
        """
        found = self._found.get((model, version))
        if found is None:
            found = self._found[model, version] = self._find(model, version)
        return found

    def _find(self, model: str | None, version: str | int | None) -> ServedPackage:
        name = self._default if model is None else model
        statuses = self.statuses(name)
        if version is not None:
            statuses = [status for status in statuses if str(status.key.version) == str(version)]
        for status in statuses:
            if status.package is not None:
                return status.package
        asked = name[:MAX_QUOTED] + (f", version {str(version)[:MAX_QUOTED]}" if version is not None else "")
        if not self._opened or any(status.state == "loading" for status in statuses):
            raise NotReady(f"The model {asked} is still loading.", RETRY_AFTER_S)
        there = ", ".join(str(status.key) for status in self.statuses() if status.state == "ready")
        raise NotFound(f"There is no model {asked} that is ready; there are: {there or 'none'}.")


class Repository(ABC):
    """What is served.

    Args:
        registry: where every package stands.
        configured: the models that the service promises to have, the default first.

    Attributes:
        configured: as given.
    """

    def __init__(self, registry: PackageRegistry, configured: tuple[str, ...]) -> None:
        self._registry = registry
        self.configured = configured

    @property
    def unready(self) -> list[str]:
        """The configured models that have no version that is ready."""
        return [name for name in self.configured if self._registry.newest_ready(name) is None]

    @property
    def ready(self) -> bool:
        """Whether every configured model has a version that is ready."""
        return not self.unready

    def statuses(self) -> list[PackageStatus]:
        """Say where every package stands that was found; by name, then the newest version first."""
        return self._registry.statuses()

    def find(self, model: str | None = None, version: str | int | None = None) -> ServedPackage:
        """Find a package that is ready; see `PackageRegistry.find`.

        Whoever is answering a request may use it to the request's end, whatever becomes of its folder.
        """
        return self._registry.find(model, version)

    @abstractmethod
    async def load(self, name: str) -> None:
        """Load every version of a model that the folder holds, and keep to it from now on.

        Args:
            name: of the model; what of it is ready stays as it is.

        Raises:
            NotFound: the folder holds no version of it.
            PackageError: the newest version was refused, and why, or the folder cannot be read; what is ready answers
                as before.
        """

    @abstractmethod
    async def unload(self, name: str) -> None:
        """Retire every version of a model, and leave it alone until it is asked for by `load`.

        No request finds it any more when this returns; those that have it keep it, and then its memory is freed.

        Args:
            name: of the model.

        Raises:
            NotFound: nothing is known of it.
        """
