"""Writes a run's report, RUN/report.html, one self-contained page.

    diagnosis in words · what happened · samples over time, with a film · charts with their reference lines ·
    the configuration

RUN/report.json holds the same for programs, and for `comparison`. Pictures are embedded, charts are SVG, and nothing
is fetched. The page follows the reader's light or dark mode.
"""

import json
from html import escape
from pathlib import Path
from typing import Any, Final

from training import config as configuration
from training import data
from training.config import Config
from training.diagnostics import film
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.findings import Finding, RunRecord, document, mood_of
from training.diagnostics.measures import inspection
from training.diagnostics.measures.inspection import Inspection
from training.diagnostics.measures.probe import can_probe
from training.diagnostics.page import data_uri, figure, image
from training.diagnostics.page import document as page_of
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
FACTS_NAME: Final = "report.json"
FACTS_FORMAT: Final = 1
MOST_GRIDS: Final = 6  # evenly over the run, with the last one


def write(run: Path, data_path: str | None = None) -> tuple[Path, list[Finding]]:
    """Examine a run, and write its report, its film and the facts of both.

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
        shown = film.write(run)
        write_atomically(path, page(run, record, findings, unread).encode())
        facts = _facts(record, findings, unread, None if shown is None else shown.name)
        write_atomically(run / FACTS_NAME, (json.dumps(facts, indent=2, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error
    return path, findings


def facts(run: Path) -> dict[str, Any] | None:
    """Read what `write` kept of a report.

    Returns:
        `samples`, `total_samples`, `metrics` by name, `best` (samples, measure and value), `findings`, `unread` (why
        samples were not compared with the data), and the names of `report` and `film` in the run's folder; None where
        there is no report, or the run has gone on since.
    """
    path = run / FACTS_NAME
    sources = [run / checkpoint.CONFIG_NAME, run / history.METRICS_NAME, run / history.EVENTS_NAME]
    newest = checkpoint.latest(run)
    try:
        written = path.stat().st_mtime_ns
        if any(source.stat().st_mtime_ns > written for source in [*sources, *([newest] if newest else [])]):
            return None
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept if isinstance(kept, dict) and kept.get("format") == FACTS_FORMAT else None


def document_of(run: Path) -> dict[str, Any]:
    """The facts of a report that has just been written, with the paths of its files, as `--json` prints them."""
    kept = json.loads((run / FACTS_NAME).read_text(encoding="utf-8"))
    paths = {"report": str(run / FILE_NAME), "film": kept["film"] and str(run / kept["film"])}
    return {key: value for key, value in kept.items() if key != "format"} | paths


def _facts(record: RunRecord, findings: list[Finding], unread: str | None, shown: str | None) -> dict[str, Any]:
    return {
        "format": FACTS_FORMAT,
        **document(FILE_NAME, findings),
        "film": shown,
        "samples": record.samples_seen,
        "total_samples": record.config.trainer.total_samples,
        "metrics": record.metrics(),
        "best": None if record.best is None else record.best.plain(),
        "unread": unread,
    }


def page(run: Path, record: RunRecord, findings: list[Finding], unread: str | None) -> str:
    """Format the report as HTML.

    Args:
        unread: why samples were not compared with the data, if they were not.
    """
    config, total = record.config, record.config.trainer.total_samples
    charts, marks = charts_of(record), marks_of(record)
    drawn = {chart.name for chart in charts}
    figures = "".join(figure(chart, total, marks) for chart in charts)
    return page_of(
        config.name,
        [
            f"<h1>{escape(config.name)}</h1><p class='soft'>{escape(config.objective.kind)} on "
            f"{escape(config.data.kind)}, seed {config.seed}: {record.samples_seen:,} of {total:,} samples"
            f"{_best(run)}</p>",
            "<h2>Diagnosis</h2>" + "".join(_finding(finding, drawn) for finding in findings),
            f"<p class='soft'>Not compared with the data: {escape(unread)}.</p>" if unread else "",
            _events(record),
            _pictures(run),
            f"<h2>Measurements</h2><div class='cards'>{figures}</div>" if charts else "",
            "<details><summary>Configuration</summary><div class='card'>"
            f"<pre>{_configuration(config)}</pre></div></details>",
        ],
    )


def _best(run: Path) -> str:
    """Names the best checkpoint that is kept, if one is."""
    found = checkpoint.find_best(run)
    return "" if found is None else f"; best at {found[1].samples:,}, by {escape(str(found[1]))} (--checkpoint best)"


def _configuration(config: Config) -> str:
    """The configuration, a table a block so that no column breaks within one."""
    return "".join(f"<span>{escape(table)}\n</span>" for table in configuration.dumps(config).split("\n\n"))


def _finding(finding: Finding, drawn: set[str]) -> str:
    tries = "".join(f"<li>{escape(attempt)}</li>" for attempt in finding.tries)
    link = f" <a href='#{finding.chart}'>See the chart.</a>" if finding.chart in drawn else ""
    return (
        f"<div class='card finding {mood_of(finding.name)}'><h3>{finding.name}</h3>"
        f"<p>{escape(finding.words)}{link}</p>"
        + (f"<p class='soft'>Try</p><ul>{tries}</ul>" if tries else "")
        + "</div>"
    )


def _events(record: RunRecord) -> str:
    if not record.events:
        return ""
    lines = "".join(f"<li>sample {event.samples:,}: {escape(event.text)}</li>" for event in record.events)
    return f"<h2>What happened</h2><div class='card'><ul>{lines}</ul></div>"


def _pictures(run: Path) -> str:
    paths, shown = film.pictures(run / film.GRIDS), run / film.FILE_NAME
    count = min(len(paths), MOST_GRIDS)
    chosen = [paths[(position + 1) * len(paths) // count - 1] for position in range(count)]
    figures = [_picture(image(path, f"samples at {int(path.stem):,}"), f"sample {int(path.stem):,}") for path in chosen]
    if shown.is_file():
        still = data_uri(film.frames(run)[-1].read_bytes(), "png")
        moving = (
            f"<picture><source media='(prefers-reduced-motion: reduce)' srcset='{still}'>"
            f"{image(shown, 'film of the samples over the run')}</picture>"
        )
        words = f"the whole run, slowest at its start ({film.FILE_NAME})"
        figures.insert(0, _picture(moving, words).replace("<figure>", "<figure class='film'>"))
    if not figures:
        return ""
    return f"<h2>Samples over time, always from the same latents</h2><div class='grids'>{''.join(figures)}</div>"


def _picture(shown: str, caption: str) -> str:
    return f"<figure>{shown}<figcaption>{caption}</figcaption></figure>"
