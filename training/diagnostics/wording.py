"""A diagnosis for a terminal, or for a program.

The words are the findings' own; only where they stand on the line is decided here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from training.diagnostics.finding import Finding


def as_text(report: Path, findings: Sequence[Finding]) -> str:
    """Write findings for people.

    Args:
        report: the page that shows the charts.
        findings: the diagnosis.

    Returns:
        Lines: each finding, what to try, and where to look.
    """
    lines = []
    for finding in findings:
        lines.append(f"{finding.name}: {finding.words}")
        lines += [f"    try  {attempt}" for attempt in finding.tries]
        if finding.chart:
            lines.append(f"    see  {report}#{finding.chart}")
    if not any(finding.chart for finding in findings):
        lines.append(f"see {report}")
    return "\n".join(lines)


def as_json(report: Path, findings: Sequence[Finding]) -> str:
    """Write findings for programs.

    Args:
        report: the page that shows the charts.
        findings: the diagnosis.

    Returns:
        An object with `report` and `findings`.
    """
    listed = [
        {"name": finding.name, "words": finding.words, "tries": list(finding.tries), "chart": finding.chart}
        for finding in findings
    ]
    return json.dumps({"report": str(report), "findings": listed}, indent=2)
