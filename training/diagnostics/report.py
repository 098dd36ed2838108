"""Writes a run's report, RUN/report.html, one self-contained page.

    diagnosis in words · what happened · charts with their reference lines · samples over time · the configuration

Pictures are embedded, charts are SVG, and nothing is fetched. The page follows the reader's light or dark mode.
"""

import base64
from html import escape
from pathlib import Path
from typing import Final

from training import config as configuration
from training import data
from training.diagnostics.charts import Chart, Mark, draw, number
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.findings import Finding, RunRecord, mood_of
from training.diagnostics.measures import inspection
from training.diagnostics.measures.inspection import Inspection
from training.diagnostics.measures.probe import can_probe
from training.diagnostics.plots import charts_of, marks_of
from training.errors import CheckpointError, TrainingError
from training.files import write_atomically
from training.state import checkpoint, history
from training.state.checkpoint import Run


def examine(run: Path, data_path: str | None = None) -> tuple[RunRecord, str | None]:
    """Read a run's record.

    Args:
        data_path: the data's path, if it has moved.

    Returns:
        The record, and why its networks could not be compared with the data, if they could not.

    Raises:
        CheckpointError: if there is no run, or its checkpoint is damaged.
        ConfigError: if its configuration cannot be read.
    """
    if not (run / checkpoint.CONFIG_NAME).is_file():
        raise CheckpointError(f"{run} holds no run; a run starts with `python -m training train`")
    config = configuration.load(run / checkpoint.CONFIG_NAME)
    trained = None if checkpoint.latest(run) is None else checkpoint.load_run(run)
    found, reason = (None, "there is no checkpoint yet") if trained is None else _compare(trained, data_path)
    return RunRecord(
        config=config,
        rows=history.rows(run),
        events=history.events(run),
        samples_seen=0 if trained is None else trained.samples_seen,
        inspection=found,
    ), reason


def _compare(trained: Run, data_path: str | None) -> tuple[Inspection | None, str | None]:
    try:
        config = trained.config if data_path is None else configuration.with_data_path(trained.config, data_path)
        source = data.load(config.data)
    except TrainingError as error:
        return None, str(error)
    if source.sha256 != trained.data_sha256:
        return None, f"{source.name} is no longer the data that the run was trained on"
    if not can_probe(source) or len(source.held_out) == 0:
        return None, f"{source.name} has no samples to measure distances to"
    return inspection.inspect(trained, source), None


FILE_NAME: Final = "report.html"
MOST_GRIDS: Final = 6  # evenly over the run, with the last one

STYLE: Final = """
:root { color-scheme: light dark; --text: #1c1e21; --soft: #5f6670; --line: #d9dde3; --page: #fbfbfa; --card: #fff;
  --c0: #1f6fb2; --c1: #c8541b; --c2: #2f8f4e; --bad: #b3261e; --good: #2f7d43; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #9aa3ad; --line: #363c44; --page: #15181c;
  --card: #1d2126; --c0: #6db3f2; --c1: #f0915f; --c2: #74cf91; --bad: #f28b82; --good: #81c995; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; } p { margin: .3rem 0; } .soft, figcaption, .legend { color: var(--soft); }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; }
figure { margin: 0; }
.finding { border-left: .3rem solid var(--soft); margin-bottom: .8rem; } .finding.bad { border-left-color: var(--bad); }
.finding.good { border-left-color: var(--good); } .finding ul { margin: .4rem 0 0; padding-left: 1.2rem; }
.grids { display: flex; flex-wrap: wrap; gap: 1rem; } .grids img { display: block; width: 18rem; max-width: 100%;
  image-rendering: pixelated; }
figcaption, .legend { font-size: .85rem; } .legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: 1rem; height: .2rem; vertical-align: middle; margin-right: .35rem; }
svg { display: block; width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg text.reference { text-anchor: end; } svg line.grid { stroke: var(--line); }
svg line.reference { stroke: var(--soft); stroke-dasharray: 5 4; }
svg line.mark { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 2 3; }
svg polyline { fill: none; stroke-width: 1.8; } svg polygon.band { stroke: none; opacity: .15; }
svg .series-0 { stroke: var(--c0); fill: var(--c0); } svg .series-1 { stroke: var(--c1); fill: var(--c1); }
svg .series-2 { stroke: var(--c2); fill: var(--c2); } svg polyline[class] { fill: none; }
.legend .series-0 { background: var(--c0); } .legend .series-1 { background: var(--c1); }
.legend .series-2 { background: var(--c2); }
pre { overflow-x: auto; font-size: .85rem; margin: 0; } a { color: var(--c0); }
"""


def write(run: Path, data_path: str | None = None) -> tuple[Path, list[Finding]]:
    """Examine a run and write its report.

    Args:
        data_path: the data's path, if it has moved.

    Returns:
        The page, and the findings on it.

    Raises:
        TrainingError: if there is no run, or it cannot be read or written.
    """
    record, unread = examine(run, data_path)
    findings = diagnose(record)
    path = run / FILE_NAME
    try:
        write_atomically(path, page(run, record, findings, unread).encode())
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error
    return path, findings


def page(run: Path, record: RunRecord, findings: list[Finding], unread: str | None) -> str:
    """Format the report as HTML.

    Args:
        unread: why samples were not compared with the data, if they were not.
    """
    config, total = record.config, record.config.trainer.total_samples
    charts, marks = charts_of(record), marks_of(record)
    drawn = {chart.name for chart in charts}
    sections = [
        f"<h1>{escape(config.name)}</h1><p class='soft'>{escape(config.objective.kind)} on {escape(config.data.kind)}, "
        f"seed {config.seed}: {record.samples_seen:,} of {total:,} samples</p>",
        "<h2>Diagnosis</h2>" + "".join(_finding(finding, drawn) for finding in findings),
        f"<p class='soft'>Not compared with the data: {escape(unread)}.</p>" if unread else "",
        _events(record),
        f"<h2>Measurements</h2><div class='cards'>{''.join(_figure(chart, total, marks) for chart in charts)}</div>"
        if charts
        else "",
        _grids(run),
        f"<h2>Configuration</h2><div class='card'><pre>{escape(configuration.dumps(config))}</pre></div>",
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(config.name)}</title><style>{STYLE}</style></head><body>{''.join(sections)}</body></html>\n"
    )


def _finding(finding: Finding, drawn: set[str]) -> str:
    mood = mood_of(finding.name)
    tries = "".join(f"<li>{escape(attempt)}</li>" for attempt in finding.tries)
    link = f" <a href='#{finding.chart}'>See the chart.</a>" if finding.chart in drawn else ""
    return (
        f"<div class='card finding {mood}'><h3>{finding.name}</h3><p>{escape(finding.words)}{link}</p>"
        + (f"<p class='soft'>Try</p><ul>{tries}</ul>" if tries else "")
        + "</div>"
    )


def _events(record: RunRecord) -> str:
    if not record.events:
        return ""
    lines = "".join(f"<li>sample {event.samples:,}: {escape(event.text)}</li>" for event in record.events)
    return f"<h2>What happened</h2><div class='card'><ul>{lines}</ul></div>"


def _figure(chart: Chart, total_samples: int, marks: list[Mark]) -> str:
    legend = "".join(
        f"<span><i class='series-{position}'></i>{escape(series.name)}: {number(series.points[-1][1])}</span>"
        for position, series in enumerate(chart.series)
    )
    return (
        f"<figure id='{chart.name}'><h3>{escape(chart.title)}</h3>{draw(chart, total_samples, marks)}"
        f"<p class='legend'>{legend}</p><figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def _grids(run: Path) -> str:
    paths = sorted((run / "grids").glob("*.png"))
    if not paths:
        return ""
    count = min(len(paths), MOST_GRIDS)
    chosen = [paths[(position + 1) * len(paths) // count - 1] for position in range(count)]
    figures = "".join(
        f"<figure><img alt='samples at {int(path.stem):,}' src='data:image/png;base64,"
        f"{base64.b64encode(path.read_bytes()).decode()}'><figcaption>sample {int(path.stem):,}</figcaption></figure>"
        for path in chosen
    )
    return f"<h2>Samples over time, always from the same latents</h2><div class='grids'>{figures}</div>"
