"""What is served, as routes ask for it: which package answers, where each stands, which may come and go.

    Served ── Repository   in the process that computes: it makes what it says true
           └─ Replica      in another process of the same service: it says what that one says

It stands apart from both so that a route never learns which it was given. Reading costs no hop and waits for nothing.
"""

from abc import ABC, abstractmethod

from service.packages.catalogue import Catalogue, PackageStatus, ServedPackage


class Served(ABC):
    """What is served.

    Args:
        catalogue: where every package stands.
        configured: the models that the service promises to have, the default first.

    Attributes:
        configured: as given.
    """

    def __init__(self, catalogue: Catalogue, configured: tuple[str, ...]) -> None:
        self._catalogue = catalogue
        self.configured = configured

    @property
    def unready(self) -> list[str]:
        """The configured models that have no version that is ready."""
        return [name for name in self.configured if self._catalogue.newest_ready(name) is None]

    @property
    def ready(self) -> bool:
        """Whether every configured model has a version that is ready."""
        return not self.unready

    def statuses(self) -> list[PackageStatus]:
        """Say where every package stands that was found; by name, then the newest version first."""
        return self._catalogue.statuses()

    def find(self, model: str | None = None, version: str | int | None = None) -> ServedPackage:
        """Find a package that is ready; see `Catalogue.find`.

        Whoever is answering a request may use it to the request's end, whatever becomes of its folder.
        """
        return self._catalogue.find(model, version)

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
