"""The advisories about pinned packages, as a list that is committed with its date, for where no database can be asked.

`python -m tests.support.advisories FOLDER` makes `deploy/advisories.json` of a checkout of the advisory database of the
Python Packaging Authority (github.com/pypa/advisory-database). `make audit` asks the database itself, and is newer.

References:
    Open Source Vulnerability format, 1.6: `affected[].ranges` (an event `introduced` begins one, `fixed` or
    `last_affected` ends it) and `affected[].versions`; a version is affected that is in either.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from packaging.version import Version

ROOT: Final = Path(__file__).parents[2]
FILE: Final = ROOT / "deploy" / "advisories.json"
DATABASE: Final = "github.com/pypa/advisory-database"


def plain(name: str) -> str:
    """A package's name as PEP 503 normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    """Name → version of `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {plain(name): version for name, version in (line.split("==") for line in lines if "==" in line)}


def is_affected(version: str, advisory: Mapping[str, Any]) -> bool:
    """Whether an advisory of the list is about a version."""
    asked = Version(version)
    return version in advisory["versions"] or any(
        Version(each["introduced"]) <= asked
        and ("fixed" not in each or asked < Version(each["fixed"]))
        and ("last_affected" not in each or asked <= Version(each["last_affected"]))
        for each in advisory["ranges"]
    )


def found(versions: Mapping[str, str], advisories: list[dict[str, Any]]) -> list[str]:
    """Each package with an advisory about its version: `name version: id`."""
    return [
        f"{each['package']} {versions[each['package']]}: {each['id']}"
        for each in advisories
        if each["package"] in versions and is_affected(versions[each["package"]], each)
    ]


def _ranges(affected: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for each in affected.get("ranges", ()):
        if each["type"] != "ECOSYSTEM":  # commits of a repository
            continue
        begun: dict[str, str] | None = None
        for event in each["events"]:
            if "introduced" in event:
                if begun is not None:
                    yield begun
                begun = {"introduced": event["introduced"]}
            elif begun is not None:
                yield begun | event
                begun = None
        if begun is not None:
            yield begun


def read(folder: Path) -> dict[str, Any]:
    """The list of a checkout of the database, about every pinned package."""
    names = sorted(pins())
    advisories = []
    for path in sorted(path for name in names for path in (folder / "vulns" / name).glob("*.yaml")):
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "withdrawn" in written:
            continue
        for affected in written["affected"]:
            ranges = list(_ranges(affected))
            advisories.append(
                {
                    "id": written["id"],
                    "aliases": written.get("aliases", []),
                    "package": plain(affected["package"]["name"]),
                    "ranges": ranges,
                    "versions": [] if ranges else affected.get("versions", []),
                }
            )
    last = subprocess.run(
        ["git", "-C", str(folder), "log", "-1", "--format=%H %cs"], check=True, capture_output=True, text=True
    )
    commit, date = last.stdout.split()
    return {"database": DATABASE, "commit": commit, "date": date, "asked": names, "advisories": advisories}


def main() -> None:
    """Write the list, a line an advisory."""
    made = read(Path(sys.argv[1]))
    lines = ",\n".join(f"  {json.dumps(each)}" for each in made.pop("advisories"))
    head = json.dumps(made)[:-1]
    FILE.write_text(f'{head}, "advisories": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
