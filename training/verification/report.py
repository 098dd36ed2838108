"""Formats findings as a table or JSON, and failures as a sentence."""

import dataclasses
from collections.abc import Sequence

from training.verification.base import Finding

SIGNS = {"equal": "=", "at_most": "≤", "at_least": "≥"}
HEADER = ("", "identity", "source", "measured", "", "expected", "tolerance")


def table(findings: Sequence[Finding]) -> list[str]:
    """Format findings in columns.

    Returns:
        Lines: a header, one for each finding, and the count.
    """
    rows = [HEADER, *(_cells(finding) for finding in findings)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    held = sum(finding.holds for finding in findings)
    return [*lines, f"{held} of {len(findings)} identities hold"]


def document(findings: Sequence[Finding]) -> list[dict[str, object]]:
    """The findings as `--json` prints them: objects with the keys of `Finding` and `holds`."""
    return [{**dataclasses.asdict(finding), "holds": finding.holds} for finding in findings]


def failure(findings: Sequence[Finding]) -> str | None:
    """Describe the failures.

    Returns:
        One sentence, or None where everything holds.
    """
    broken = [finding for finding in findings if not finding.holds]
    if not broken:
        return None
    return f"{len(broken)} of {len(findings)} identities do not hold; the first: {broken[0].identity}"


def _cells(finding: Finding) -> tuple[str, ...]:
    return (
        "pass" if finding.holds else "FAIL",
        finding.identity,
        finding.source,
        f"{finding.measured:.6g}",
        SIGNS[finding.relation],
        f"{finding.expected:.6g}",
        f"±{finding.tolerance:.0e}" if finding.relation == "equal" else f"{finding.tolerance:.0e}",
    )
