"""Whose turn it is where several processes run tests: one that is marked `alone` runs while no other does.

pytest-xdist shares tests out, and knows no such thing. What they lock are two files of the run.
"""

import fcntl
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest


def _files(config: pytest.Config) -> tuple[Path, Path] | None:
    """What the processes of a run lock; None in a process that runs all tests itself."""
    told: dict[str, Any] | None = getattr(config, "workerinput", None)
    if told is None:
        return None
    folder = Path(tempfile.gettempdir())
    return folder / f"ganymede-tests-{told['testrunuid']}.turn", folder / f"ganymede-tests-{told['testrunuid']}.next"


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the timeout, which is not for waiting
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test beside those of other processes, or, where it is marked `alone`, beside none."""
    files = _files(item.config)
    if files is None:
        return (yield)
    with files[0].open("w") as turn:
        # A test that waits for the others to end holds this one, so that none begins before it.
        with files[1].open("w") as its_next:
            fcntl.flock(its_next, fcntl.LOCK_EX)
            fcntl.flock(turn, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the files; a process that still runs tests makes them again."""
    for file in _files(session.config) or ():
        file.unlink(missing_ok=True)
