"""Stand-ins for packages that the trainer imports and a step of it does not use, where they are not installed.

A borrowed machine has torch and little else. Reading images, drawing pictures and the tests of a probe need further
packages, and all of them are imported with the trainer. A stand-in can be imported and named; a caller is told what is
missing. Importing this module puts them in place, so it is imported before the trainer.
"""

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Final, NoReturn

# What `training.loop.trainer` and `training.diagnostics.monitor` import beside numpy, torch and accelerate.
NOT_NEEDED_BY_A_STEP: Final = ("sklearn", "scipy", "PIL", "threadpoolctl", "tqdm")


class Missing(Exception):
    """A stand-in was used. An exception, so that a stand-in may stand in an `except` clause."""


class Named(type):
    """What stands in for a name: a class, since it may be inherited from or caught, and every name in it is another."""

    def __getattr__(cls, name: str) -> type:
        """Any name; dunders are not pretended, since Python asks for them by itself."""
        if name.startswith("__"):
            raise AttributeError(name)
        return named(f"{cls.__qualname__}.{name}")

    def __call__(cls, *_: object, **__: object) -> NoReturn:
        """It was used."""
        raise Missing(f"{cls.__qualname__.partition('.')[0]} is not installed, and {cls.__qualname__} was needed")


def named(path: str) -> type:
    """Make the stand-in for what a dotted path names."""
    return Named(path.rpartition(".")[2], (Missing,), {"__qualname__": path})


class StandIn(ModuleType):
    """A module that is not there."""

    def __getattr__(self, name: str) -> type:
        """As `Named`."""
        if name.startswith("__"):
            raise AttributeError(name)
        return named(f"{self.__name__}.{name}")


class Finder(MetaPathFinder, Loader):
    """Finds stand-ins.

    Args:
        absent: names of packages.
    """

    def __init__(self, absent: Sequence[str]) -> None:
        self._absent = frozenset(absent)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """As Python's import system asks."""
        if fullname.partition(".")[0] in self._absent:
            return ModuleSpec(fullname, self, is_package=True)
        return None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """As Python's import system asks."""
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing to execute."""


def stand_in(names: Sequence[str] = NOT_NEEDED_BY_A_STEP) -> list[str]:
    """Let packages be imported that are not installed.

    Returns:
        Those that are not.
    """
    absent = [name for name in names if name not in sys.modules and find_spec(name) is None]
    if absent:
        sys.meta_path.append(Finder(absent))
    return absent


ABSENT: Final = stand_in()
