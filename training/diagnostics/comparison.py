"""Compares runs on one self-contained page, comparison.html.

    a table, sortable: keys that differ · samples · time · final figures · diagnosis
    curves of all runs in the same charts · the last samples side by side · links to each run's own report

A run's report is written first where it is missing or older than the run. A run that cannot be read is named with the
reason, and keeps no other from the page.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from PIL import Image

from training import config as configuration
from training.diagnostics import film, report
from training.diagnostics.charts import COLOURS, Chart, Series, number
from training.diagnostics.findings import RunRecord, mood_of
from training.diagnostics.page import data_uri, document, figure
from training.diagnostics.plots import charts_of
from training.errors import CheckpointError, TrainingError
from training.files import write_atomically
from training.progress import progress
from training.state import checkpoint, history

FILE_NAME: Final = "comparison.html"
DEEPEST: Final = 6  # folders below the given one
MOST_POINTS: Final = 120  # of a curve
MINUTE_S: Final = 60
HOUR_S: Final = 3_600
# Name, heading, and what it is.
METRICS: Final = (
    ("told_apart", "told apart", "share of pairs in which a fresh classifier knows the real sample; 0.5 is a coin"),
    ("near", "near the training data", "share of samples that are as near to the data as 99 of 100 real ones"),
    ("copies", "copies", "share of samples that repeat the training set"),
    ("diversity", "diversity", "mean distance of two samples, in units of that of two real ones"),
    ("modes", "modes", "modes drawn in a probe"),
    ("unrest", "unrest", "distance of the generator from its average"),
)

STYLE: Final = """
body { max-width: 96rem; } .wide { overflow-x: auto; padding: 0; } table { border-collapse: collapse; width: 100%; }
th, td { padding: .45rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child, th.words, td.words { text-align: left; } tbody tr:last-child td { border-bottom: 0; }
td.words { white-space: normal; min-width: 9rem; } .key { color: var(--soft); font-weight: 400; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--card); }
td { font-variant-numeric: tabular-nums; }
th button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
th[aria-sort=ascending] button::after { content: " ↑"; } th[aria-sort=descending] button::after { content: " ↓"; }
.bad { color: var(--bad); } .good { color: var(--good); } .doubtful { color: var(--doubtful); }
#runs { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; } #runs label { white-space: nowrap; }
.hidden { display: none; }
"""
# Sorting and choosing are all that needs a script: without it the page is complete.
SCRIPT: Final = """
const body = document.querySelector('tbody');
for (const [column, head] of [...document.querySelectorAll('thead th')].entries()) {
  const button = document.createElement('button');
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener('click', () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    for (const other of head.parentNode.children) other.removeAttribute('aria-sort');
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = row => row.children[column].dataset.value;
    const compare = (a, b) => {
      const [x, y] = [value(a), value(b)];
      if (x === '' || y === '') return (x === '') - (y === '');
      const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
      return down ? -order : order;
    };
    body.append(...[...body.children].sort(compare));
  });
}
for (const box of document.querySelectorAll('#runs input')) {
  box.hidden = false;
  box.addEventListener('change', () => {
    for (const part of document.querySelectorAll(`[data-run="${box.value}"]`))
      part.classList.toggle('hidden', !box.checked);
  });
}
"""


@dataclass(frozen=True)
class Compared:
    """A run of the page.

    Attributes:
        name: its folder, seen from the page.
        record: without the comparison of its networks with the data, which is in `facts`.
        facts: as `training.diagnostics.report.facts`.
        seconds: that it was trained for, all sessions together; None where its log does not tell.
    """

    folder: Path
    name: str
    record: RunRecord
    facts: dict[str, Any]
    seconds: float | None

    @property
    def keys(self) -> dict[str, object]:
        """Every key of the configuration, such as `trainer.batch_size`, but the data's path."""
        tables = configuration.to_tables(self.record.config)
        return {
            f"{table}.{key}" if table else key: value
            for table, entries in tables.items()
            for key, value in entries.items()
            if (table, key) != ("data", "path")
        }


def find(places: Sequence[Path]) -> list[Path]:
    """Find runs.

    Args:
        places: runs, and folders that hold runs at any depth up to `DEEPEST`.

    Returns:
        Folders of runs, each once, in the order of the places and then by path.

    Raises:
        CheckpointError: if a place holds none.
    """
    found: dict[Path, None] = {}
    for place in places:
        inside = list(_runs_below(place))
        if not inside:
            raise CheckpointError(f"{place} holds no run; a run starts with `python -m training train`")
        found |= dict.fromkeys(inside)
    return list(found)


def write(places: Sequence[Path], out: Path | None = None, data_path: str | None = None) -> tuple[Path, dict[str, Any]]:
    """Compare runs, and write the page.

    Args:
        places: as `find`.
        out: of the page; None writes `comparison.html` into the folder that holds all of the runs.
        data_path: of the data of all runs, if it has moved.

    Returns:
        The page, and its content for programs.

    Raises:
        TrainingError: if there is no run that can be read, or the page cannot be written.
    """
    folders = find(places)
    path = _shared_folder(places, folders) / FILE_NAME if out is None else out
    compared, unread = [], {}
    for folder in progress(folders, "reading runs", len(folders), "run"):
        try:
            compared.append(_read(folder, path, data_path))
        except TrainingError as error:
            unread[folder] = str(error)
    if not compared:
        raise CheckpointError(f"none of {len(folders)} runs can be read; the first: {next(iter(unread.values()))}")
    try:
        write_atomically(path, page(compared, unread).encode())
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror}") from error
    return path, _as_document(path, compared, unread)


def page(compared: Sequence[Compared], unread: dict[Path, str]) -> str:
    """Format the page as HTML.

    Args:
        compared: at least one.
        unread: runs that could not be read, with the reason.
    """
    total = max(run.record.config.trainer.total_samples for run in compared)
    charts = "".join(figure(chart, total) for chart in _charts(compared))
    return document(
        f"{len(compared)} runs",
        [
            f"<h1>{len(compared)} run{'s' if len(compared) > 1 else ''}</h1>",
            f"<div class='card wide'>{_table(compared)}</div>",
            *(f"<p class='bad'>{escape(str(run))}: {escape(reason)}</p>" for run, reason in unread.items()),
            f"<h2>Last samples, from the same latents where seed and networks agree</h2>{_samples(compared)}",
            f"<h2>Curves</h2>{_choice(compared)}<div class='cards'>{charts}</div>" if charts else "",
        ],
        STYLE,
        SCRIPT,
    )


def _runs_below(place: Path) -> Iterator[Path]:
    deepest = len(place.parts) + DEEPEST
    for folder, below, files in os.walk(place):
        if checkpoint.CONFIG_NAME in files:
            below.clear()
            yield Path(folder)
        below[:] = sorted(name for name in below if not name.startswith(".")) * (len(Path(folder).parts) < deepest)


def _shared_folder(places: Sequence[Path], folders: Sequence[Path]) -> Path:
    if len(places) == 1 and places[0] not in folders:
        return places[0]
    return Path(os.path.commonpath([folder.resolve().parent for folder in folders]))


def _read(folder: Path, page_path: Path, data_path: str | None) -> Compared:
    config = configuration.load(folder / checkpoint.CONFIG_NAME)
    facts = report.facts(folder)
    if facts is None:
        report.write(folder, data_path)
        facts = report.facts(folder)
    if facts is None:
        raise CheckpointError(f"{folder} is being trained and changed while it was read; try again")
    record = RunRecord(config, history.rows(folder), history.events(folder), facts["samples"], None)
    name = os.path.relpath(folder, page_path.parent)
    return Compared(folder, folder.resolve().name if name == "." else name, record, facts, _seconds(folder))


def _seconds(folder: Path) -> float | None:
    """Time between the first and the last entry of each session's log, summed."""
    from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]  # noqa: PLC0415 - publishes none; takes half a second
        EventFileLoader,
    )

    spent = []
    for path in (folder / "tensorboard").glob("events*"):
        times = [event.wall_time for event in EventFileLoader(str(path)).Load()]
        spent += [times[-1] - times[0]] if len(times) > 1 else []
    return sum(spent) if spent else None


def _differences(compared: Sequence[Compared]) -> list[str]:
    """Keys that not all runs have with the same value."""
    names = dict.fromkeys(name for run in compared for name in run.keys)
    return [
        name
        for name in names
        if any(one.keys.get(name) != other.keys.get(name) for one, other in pairwise(compared)) and name != "name"
    ]


def _table(compared: Sequence[Compared]) -> str:
    keys = _differences(compared)
    metrics = [metric for metric in METRICS if any(metric[0] in run.facts["metrics"] for run in compared)]
    heads = [
        ("run", "", ""),
        ("diagnosis", "words", ""),
        *((heading, "", words) for _, heading, words in metrics),
        ("samples", "", "of the newest checkpoint"),
        ("time", "", "spent training"),
        *((key.replace(".", " "), "key", "a key of the configuration that differs") for key in keys),
    ]
    head = "".join(
        f"<th scope='col' class='{kind}' title='{escape(words, quote=True)}'>{escape(name)}</th>"
        for name, kind, words in heads
    )
    rows = "".join(
        f"<tr>{''.join(_cells(run, place, keys, [metric for metric, *_ in metrics]))}</tr>"
        for place, run in enumerate(compared)
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(run: Compared, place: int, keys: Sequence[str], metrics: Sequence[str]) -> Iterator[str]:
    link = f"<a href='{quote(f'{run.name}/{report.FILE_NAME}')}'>{escape(run.name)}</a>"
    yield _cell(run.name, f"<i class='series-{place % COLOURS}'></i>{link}")
    names = [finding["name"] for finding in run.facts["findings"]]
    words = ", ".join(f"<span class='{mood_of(name)}'>{escape(name)}</span>" for name in names)
    yield _cell(", ".join(names), words, "words")
    for metric in metrics:
        value = run.facts["metrics"].get(metric)
        yield _cell(value, "" if value is None else number(value))
    done, total = run.facts["samples"], run.facts["total_samples"]
    yield _cell(done, f"{done:,}" if done == total else f"{done:,} of {total:,}")
    yield _cell(run.seconds, "" if run.seconds is None else _duration(run.seconds))
    for key in keys:
        value = run.keys.get(key, "")
        shown = number(value) if isinstance(value, float) else _plain(value)
        yield _cell(value if isinstance(value, int | float) else shown, escape(shown), "key")


def _cell(value: object, shown: str, kind: str = "") -> str:
    stated = "" if value is None else escape(str(value), quote=True)
    return f"<td class='{kind}' data-value='{stated}'>{shown}</td>"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _duration(seconds: float) -> str:
    if seconds < MINUTE_S:
        return f"{seconds:.0f} s"
    return f"{seconds / MINUTE_S:.1f} min" if seconds < HOUR_S else f"{seconds / HOUR_S:.1f} h"


def _choice(compared: Sequence[Compared]) -> str:
    """The runs with their colours, each with a box that hides it."""
    boxes = "".join(
        f"<label><input type='checkbox' value='{place}' checked hidden> "
        f"<i class='series-{place % COLOURS}'></i>{escape(run.name)}</label>"
        for place, run in enumerate(compared)
    )
    return f"<div class='card' id='runs'>{boxes}</div><p></p>"


def _charts(compared: Sequence[Compared]) -> list[Chart]:
    """A chart for each curve that two or more runs have."""
    same_game = len({run.record.config.objective.kind for run in compared}) == 1
    drawn = [charts_of(run.record) for run in compared]
    divided = {chart.name for charts in drawn for chart in charts if len(chart.series) > 1}
    found: dict[tuple[str, str, str], Chart] = {}
    for place, (run, charts) in enumerate(zip(compared, drawn, strict=True)):
        for chart in charts:
            if chart.name == "losses" and not same_game:
                continue
            for series in chart.series:
                key = (chart.name, chart.caption, series.name)
                title = f"{chart.title}: {series.name}" if chart.name in divided else chart.title
                curve = Series(run.name, _thinned(series.points), number=place)
                before = found.get(key, replace(chart, name=f"chart-{len(found)}", title=title, series=()))
                found[key] = replace(before, series=(*before.series, curve))
    return [chart for chart in found.values() if len(chart.series) > 1]


def _thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points at even distances, with the last one."""
    every = -(-len(points) // MOST_POINTS)
    return list(points[::-1][::every][::-1]) if every > 1 else list(points)


def _samples(compared: Sequence[Compared]) -> str:
    figures = []
    for place, run in enumerate(compared):
        kept = film.frames(run.folder)
        if not kept:
            continue
        with Image.open(kept[-1]) as opened:
            content = BytesIO()
            film.reduced(opened, film.FRAME_SIDE).save(content, format="png")
        moving = quote(f"{run.name}/{film.FILE_NAME}")
        link = f", <a href='{moving}'>film</a>" if run.facts["film"] else ""
        figures.append(
            f"<figure data-run='{place}'><img alt='last samples of {escape(run.name, quote=True)}' "
            f"src='{data_uri(content.getvalue(), 'png')}'><figcaption><i class='series-{place % COLOURS}'></i>"
            f"{escape(run.name)}, sample {int(kept[-1].stem):,}{link}</figcaption></figure>"
        )
    return f"<div class='grids'>{''.join(figures)}</div>" if figures else "<p class='soft'>No run has pictures.</p>"


def _as_document(path: Path, compared: Sequence[Compared], unread: dict[Path, str]) -> dict[str, Any]:
    keys = _differences(compared)
    return {
        "report": str(path),
        "runs": [
            {
                "run": str(run.folder),
                "report": str(run.folder / report.FILE_NAME),
                "samples": run.facts["samples"],
                "total_samples": run.facts["total_samples"],
                "seconds": run.seconds,
                "differences": {key: run.keys.get(key) for key in keys},
                "metrics": run.facts["metrics"],
                "findings": [finding["name"] for finding in run.facts["findings"]],
            }
            for run in compared
        ],
        "unread": {str(folder): reason for folder, reason in unread.items()},
    }
