"""A small package, trained for seconds on the bundled digits and exported once for all tests of a session.

The classifier's cache is in the same temporary folder, not in the user's cache.
"""

from pathlib import Path

import pytest

from tests.support import small
from training.export.export import export_run
from training.loop import run

NAME = "small"


def unheard(_line: str) -> None:
    """Discard a message."""


def cache(factory: pytest.TempPathFactory) -> Path:
    """The folder used as the user's cache."""
    return factory.getbasetemp() / "cache"


def package(factory: pytest.TempPathFactory) -> Path:
    """Folder of the package; its run is `run`, beside the models folder."""
    root = factory.getbasetemp() / "exported"
    folder = root / "models" / NAME / "1"
    if not folder.exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache(factory)))
            run.start(small.config(), root / "run", unheard)
            export_run(root / "run", root / "models", None, None, unheard, license_text="CC0-1.0")
    return folder
