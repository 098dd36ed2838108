"""In-memory state of every package version, and which of them answers a request.

    unloaded ──▶ loading ──▶ ready ──▶ unloading ──▶ unloaded
                    └──────▶ refused

A version that is out of memory for the budget alone is *on demand*: it still answers for its model, with 503, and who
asks for it has it loaded. Else a model's answer would change to an older version because of what others ask.

`repository.py` writes the registry, the API reads it, and registries in other processes listen to it. It has no other
effects. A version answers as long as it is ready, so that a model is never without one between two versions.
"""

import asyncio
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.engine.config import Precision
from service.engine.model_spec import LoadReport, PackageKey
from service.errors import NotFound, NotReady
from service.packages.calibration import Calibration
from service.packages.schema import Manifest
from service.packages.unknown_label import UnknownLabelReader

# About as long as loading one package takes.
RETRY_AFTER_S = 2.0
# Of one that a request has loaded.
KEPT_OUT = "kept out of memory by GANYMEDE_MEMORY_BUDGET; a request for it has it loaded"
MAX_QUOTED = 64  # characters of a caller's own words in a message

State = Literal["loading", "ready", "refused", "unloading", "unloaded"]


@dataclass(frozen=True, slots=True)
class ServedPackage:
    """A package that is ready.

    Attributes:
        sha256: of its manifest, which identifies it.
        calibration: of its discriminator's logits; None without a discriminator, or with one that is not calibrated.
        report: what loading it showed.
        unknown_label: how to judge a sample whose class is not stated; None where it must be stated.
        reference: NPY file of held-out real vectors; None without one.
    """

    key: PackageKey
    manifest: Manifest
    sha256: str
    calibration: Calibration | None
    report: LoadReport
    unknown_label: UnknownLabelReader | None = None
    reference: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, key: PackageKey, manifest: Manifest, sha256: str, report: LoadReport, reference: bytes | None = None
    ) -> "ServedPackage":
        """Prepare what the manifest states of the discriminator's logits."""
        discriminator = manifest.discriminator
        calibration = Calibration.of(discriminator) if discriminator else None
        unknown_label = UnknownLabelReader.of(discriminator) if discriminator else None
        return cls(key, manifest, sha256, calibration, report, unknown_label, reference)

    @property
    def unscored(self) -> str:
        """Why it has no scores, where it has none."""
        if self.manifest.discriminator is None:
            return "this package has no discriminator"
        return (
            f"the discriminator of {self.key} is not calibrated, so its logits have no scale; publish the package "
            f"again with real samples (`python -m training adopt … --data FOLDER`), or ask /v2/models/{self.key.name}"
            ".discriminator/infer for logits"
        )

    @property
    def reduced_precision(self) -> Precision | None:
        """The precision of its samples where it is less than fp32, which every answer then says; else None."""
        precision = self.report.generator.precision
        return None if precision == "fp32" else precision


@dataclass(frozen=True, slots=True)
class PackageStatus:
    """The state of one version of one package.

    Attributes:
        state: `loading` includes waiting for its turn; `unloading` answers the requests it has, and no new ones.
        reason: why it was refused, one sentence for the operator, or why it is out of memory; else None.
        package: None unless ready.
        on_demand: whether it is out of memory for the budget alone, so that a request has it loaded.
        memory_bytes: that it takes, or took when it was loaded last; None where it never was.
        retry_after_s: seconds after which asking again may help, of one on demand; None is the usual time of a load.
    """

    key: PackageKey
    state: State
    reason: str | None = None
    package: ServedPackage | None = None
    on_demand: bool = False
    memory_bytes: int | None = None
    retry_after_s: float | None = None


class Listener(Protocol):
    """Is told of every change of a registry; another registry is one."""

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
    """The state of every package.

    Args:
        default: name of the model that answers when a request names none.
        alias: another name of that model, unless there is a model of this name; empty is none.
    """

    def __init__(self, default: str, alias: str = "") -> None:
        self._default = default
        self._alias = alias
        self._statuses: dict[PackageKey, PackageStatus] = {}
        self._opened = False
        self._listeners: list[Listener] = []
        self._found: dict[tuple[str | None, str | int | None], ServedPackage] = {}  # cache, cleared by every change

    def add_listener(self, listener: Listener) -> None:
        """Tell a listener the present state, and from now on every change."""
        for status in self._statuses.values():
            listener.note(status)
        if self._opened:
            listener.open()
        self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        """Stop telling a listener."""
        self._listeners.remove(listener)

    def open(self) -> None:
        """Mark the first scan as done: from now on a package that is not here does not exist."""
        self._opened = True
        for listener in self._listeners:
            listener.open()

    def note(self, status: PackageStatus) -> None:
        """Set the state of a package."""
        self._found.clear()
        self._statuses[status.key] = status
        for listener in self._listeners:
            listener.note(status)

    def forget(self, key: PackageKey) -> None:
        """Remove a package."""
        self._found.clear()
        del self._statuses[key]
        for listener in self._listeners:
            listener.forget(key)

    def get(self, key: PackageKey) -> PackageStatus | None:
        """The state of a package; None where it is unknown."""
        return self._statuses.get(key)

    def statuses(self, name: str | None = None) -> list[PackageStatus]:
        """The state of every package, or of every version of one; by name, then the newest version first."""
        statuses = [status for status in self._statuses.values() if name in {None, status.key.name}]
        return sorted(statuses, key=lambda status: (status.key.name, -status.key.version))

    def resolve(self, model: str | None) -> str:
        """The name of the model that a request means: the default one where it names none, or the alias."""
        if model is None or (self._alias and model == self._alias and not self.statuses(model)):
            return self._default
        return model

    def newest_ready(self, name: str) -> ServedPackage | None:
        """The newest version of a model that is ready; None where there is none."""
        return next((status.package for status in self.statuses(name) if status.package is not None), None)

    def find(self, model: str | None = None, version: str | int | None = None) -> ServedPackage:
        """Find a package that is ready.

        Args:
            model: its name, or the alias; None is the default model.
            version: None is the newest that is ready.

        Raises:
            NotFound: there is no such package, or it is not served; the message lists those that are.
            NotReady: it is still loading, or on demand.
        """
        found = self._found.get((model, version))
        if found is None:
            found = self._found[model, version] = self._find(model, version)
        return found

    def on_demand(self, model: str | None = None, version: str | int | None = None) -> PackageStatus | None:
        """The package that `find` would answer with if it were in memory; None where it is, or there is none."""
        answers = next((each for each in self._asked(model, version) if each.package or each.on_demand), None)
        return None if answers is None or answers.package else answers

    def _asked(self, model: str | None, version: str | int | None) -> list[PackageStatus]:
        statuses = self.statuses(self.resolve(model))
        return [status for status in statuses if version is None or str(status.key.version) == str(version)]

    def _find(self, model: str | None, version: str | int | None) -> ServedPackage:
        name = self.resolve(model)
        statuses = self._asked(model, version)
        for status in statuses:
            if status.package is not None:
                return status.package
            if status.on_demand:
                raise NotReady(_out_of_memory(status), status.retry_after_s or RETRY_AFTER_S)
        asked = (model or name)[:MAX_QUOTED] + (f", version {str(version)[:MAX_QUOTED]}" if version is not None else "")
        if not self._opened or any(status.state == "loading" for status in statuses):
            raise NotReady(f"The model {asked} is still loading.", RETRY_AFTER_S)
        there = ", ".join(str(status.key) for status in self.statuses() if status.state == "ready")
        raise NotFound(f"There is no model {asked} that is ready; there are: {there or 'none'}.")


def _out_of_memory(status: PackageStatus) -> str:
    """What a request is told of a package that is on demand."""
    if status.reason in {None, KEPT_OUT}:
        return f"the package {status.key} was out of memory, and is being loaded now; ask again"
    return f"the package {status.key} is out of memory: {status.reason}"


class Repository(ABC):
    """What is served, and the control over it: the interface that the API uses.

    Args:
        registry: the state of every package.
        configured: the models that the service promises to have, the default first.
    """

    def __init__(self, registry: PackageRegistry, configured: tuple[str, ...]) -> None:
        self._registry = registry
        self.configured = configured
        self._demanded: dict[PackageKey, asyncio.Task[None]] = {}

    @property
    def unready(self) -> list[str]:
        """The configured models without a version that is ready."""
        return [name for name in self.configured if self._registry.newest_ready(name) is None]

    @property
    def ready(self) -> bool:
        """Whether every configured model has a version that is ready."""
        return not self.unready

    def statuses(self) -> list[PackageStatus]:
        """The state of every package; by name, then the newest version first."""
        return self._registry.statuses()

    def resolve(self, model: str | None) -> str:
        """As `PackageRegistry.resolve`."""
        return self._registry.resolve(model)

    def find(self, model: str | None = None, version: str | int | None = None, *, demand: bool = True) -> ServedPackage:
        """Find a package that is ready; see `PackageRegistry.find`. It may be used until the request is answered.

        Args:
            model: as in `PackageRegistry.find`, and so is `version`.
            demand: whether one that is on demand is loaded, so that asking again finds it.
        """
        try:
            return self._registry.find(model, version)
        except NotReady:
            status = self._registry.on_demand(model, version) if demand else None
            if status is not None and status.key not in self._demanded:
                task = self._demanded[status.key] = asyncio.create_task(self._have_loaded(status.key))
                task.add_done_callback(lambda _: self._demanded.pop(status.key))
            raise

    async def _have_loaded(self, key: PackageKey) -> None:
        with suppress(NotReady):  # the service ends
            await self.demand(key)

    async def stop_demands(self) -> None:
        """Give up what requests have loaded."""
        tasks = list(self._demanded.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @abstractmethod
    async def demand(self, key: PackageKey) -> None:
        """Load a package that is on demand, in its turn; returns when it was, or will not be.

        Raises:
            NotReady: what loads it is gone.
        """

    @abstractmethod
    async def load(self, name: str) -> None:
        """Load every version of a model that the folder holds, and serve the model from now on.

        Versions that are ready stay as they are.

        Raises:
            NotFound: the folder holds no version of it.
            PackageError: the newest version was refused, and why, or the folder cannot be read.
        """

    @abstractmethod
    async def unload(self, name: str) -> None:
        """Unload every version of a model, until `load` asks for it again.

        No request finds it any more when this returns; its memory is freed when the requests that have it are answered.

        Raises:
            NotFound: nothing is known of it.
        """
