"""A package of seconds: a tiny pair, trained for a moment on the bundled digits and exported for good.

It is made once for all the tests that look at packages, in a folder that they share; the classifier's cache lies beside
it, never in the user's.
"""

from pathlib import Path

import pytest

from tests.support import small
from training.export.export import export_run
from training.loop import run

NAME = "small"


def unheard(_line: str) -> None:
    """What nobody needs to be told."""


def cache(factory: pytest.TempPathFactory) -> Path:
    """The folder that stands for the user's cache."""
    return factory.getbasetemp() / "cache"


def package(factory: pytest.TempPathFactory) -> Path:
    """The package; its run lies beside its models folder, as `run`."""
    root = factory.getbasetemp() / "exported"
    folder = root / "models" / NAME / "1"
    if not folder.exists():
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(cache(factory)))
            run.start(small.config(), root / "run", unheard)
            export_run(root / "run", root / "models", None, None, unheard, license_text="CC0-1.0")
    return folder
