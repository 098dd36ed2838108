"""Writes tables and plots from the results; the text between two marks of a Markdown page is replaced.

<!-- table: saturation -->
…
<!-- end of table -->
"""

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.report import plots, targets
from benchmarks.report.capacity import CAPACITY_TABLES
from benchmarks.report.tables import TABLES
from benchmarks.report.trust import TRUST
from benchmarks.workplace import RESULTS, ROOT, command

PAGES: Final = (ROOT / "benchmarks" / "README.md", ROOT / "docs" / "trust.md", ROOT / "docs" / "capacity.md")
BLOCK: Final = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.DOTALL)
HEAD_LINES: Final = 2  # of a table without rows
NOTHING: Final = "*Not measured so far.*"
WRITERS: Final[Mapping[str, Callable[[Path], Iterator[str]]]] = {
    "targets": targets.lines,
    **TABLES,
    **TRUST,
    **CAPACITY_TABLES,
}


def fill(page: str, folder: Path) -> str:
    """Replace the tables of a page.

    Args:
        page: Markdown with marks.
        folder: of results.

    Returns:
        The page with tables from the current results.

    Raises:
        KeyError: a mark names no table.
    """

    def table(block: re.Match[str]) -> str:
        lines = list(WRITERS[block["name"]](folder))
        bare = len(lines) == HEAD_LINES and lines[0].startswith("|")
        text = "\n".join([NOTHING] if bare else lines)
        return f"{block[1]}\n{text}\n\n{block[3]}"

    return BLOCK.sub(table, page)


def main(arguments: list[str]) -> None:
    """Fill the pages, draw the plots."""
    parser = command("report", __doc__, "--results benchmarks/results")
    parser.add_argument("pages", nargs="*", type=Path, default=list(PAGES), help="Markdown files with marks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder")
    asked = parser.parse_args(arguments)
    for page in asked.pages:
        page.write_text(fill(page.read_text(encoding="utf-8"), asked.results), encoding="utf-8")
        sys.stdout.write(f"{page}\n")
    sys.stdout.writelines(f"{path}\n" for path in plots.draw(asked.results))
