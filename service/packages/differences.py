"""What a look at the folder comes to: which packages are new, gone or changed.

Pure functions of what was found and of where every package stands; `repository.py` looks before and acts after.
"""

from collections.abc import Container, Mapping

from service.engine.graphs import PackageKey
from service.packages.catalogue import Catalogue, PackageStatus, State
from service.packages.folder import Stamp
from service.packages.wanted import Wanted

Stamps = Mapping[PackageKey, Stamp | None]


def state_of(key: PackageKey, catalogue: Catalogue) -> State | None:
    """Where a package stands; None where nothing is known of it."""
    status = catalogue.get(key)
    return None if status is None else status.state


def new_packages(found: Stamps, tried: Stamps, catalogue: Catalogue, wanted: Wanted) -> list[PackageKey]:
    """Find what should be ready and is not, but for what was refused as it lies there.

    Args:
        found: what the folder holds.
        tried: stamp of each package's folder when it was loaded last.
        catalogue: where every package stands.
        wanted: which models should be served.

    Returns:
        Packages to load, in the order found.
    """
    return [
        key
        for key, stamp in found.items()
        if key.name in wanted
        and (state := state_of(key, catalogue)) != "ready"
        and not (state == "refused" and tried[key] == stamp)
    ]


def gone_packages(found: Stamps, catalogue: Catalogue, configured: Container[str]) -> list[PackageStatus]:
    """Find what has no folder any more, and may go.

    The newest version of a configured model stays where the folder holds none that is ready: an empty folder is a lost
    mount more often than a wish.

    Args:
        found: what the folder holds.
        catalogue: where every package stands.
        configured: names of models that the service promised to have.

    Returns:
        Where each of them stands now.
    """

    def must_stay(status: PackageStatus) -> bool:
        name = status.key.name
        if name not in configured or status.package is None:
            return False
        others = [key for key in found if key.name == name and state_of(key, catalogue) == "ready"]
        return not others and catalogue.newest_ready(name) is status.package

    return [status for status in catalogue.statuses() if status.key not in found and not must_stay(status)]


def changed_packages(found: Stamps, tried: Stamps, catalogue: Catalogue) -> list[PackageKey]:
    """Find what is ready, but lies in the folder no more as it was loaded."""
    ready = [status.key for status in catalogue.statuses() if status.state == "ready"]
    return [key for key in ready if found.get(key) != tried[key]]
