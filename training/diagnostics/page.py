"""What the report of a run and the comparison of runs have in common: style, frame, charts with their legends."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Final

from training.diagnostics.charts import COLOURS, Chart, Mark, draw, number

LIGHT: Final = ("#1f6fb2", "#c8541b", "#2f8f4e", "#8e4db3", "#b08900", "#0f8b8d", "#c23b75", "#5b6470")
DARK: Final = ("#6db3f2", "#f0915f", "#74cf91", "#c79bea", "#e0bd4a", "#5fd0d2", "#f08ab5", "#a9b3be")

STYLE: Final = (
    """
:root { color-scheme: light dark; --text: #1c1e21; --soft: #5f6670; --line: #d9dde3; --page: #fbfbfa; --card: #fff;
  --bad: #b3261e; --good: #2f7d43; --doubtful: #96690a; LIGHT }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8eb; --soft: #9aa3ad; --line: #363c44; --page: #15181c;
  --card: #1d2126; --bad: #f28b82; --good: #81c995; --doubtful: #e3b341; DARK } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0 0 .3rem; } p { margin: .3rem 0; } .soft, figcaption, .legend { color: var(--soft); }
.cards { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); }
.card, figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: 1rem; }
figure { margin: 0; }
.finding { border-left: .3rem solid var(--doubtful); margin-bottom: .8rem; }
.finding.bad { border-left-color: var(--bad); } .finding.good { border-left-color: var(--good); }
.finding ul { margin: .4rem 0 0; padding-left: 1.2rem; }
.grids { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 13rem), 1fr)); }
.grids figure { padding: .7rem; } .grids .film { grid-column: span 2; grid-row: span 2; }
.grids img { display: block; width: 100%; image-rendering: pixelated; }
@media (max-width: 34rem) { .grids .film { grid-column: auto; } }
figcaption, .legend { font-size: .85rem; } .legend span { margin-right: 1rem; white-space: nowrap; }
i[class^=series] { display: inline-block; width: 1rem; height: .2rem; vertical-align: middle; margin-right: .35rem; }
svg { display: block; width: 100%; height: auto; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
svg text.reference { text-anchor: end; paint-order: stroke; stroke: var(--card); stroke-width: 4px; }
svg line.grid { stroke: var(--line); } svg line.reference { stroke: var(--soft); stroke-dasharray: 5 4; }
svg line.mark { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 2 3; }
svg polyline { stroke-width: 1.8; } .dashed { stroke-dasharray: 6 3; }
svg polygon.band { stroke: none; opacity: .15; } svg polyline[class] { fill: none; }
pre { overflow-x: auto; font-size: .85rem; margin: 0; columns: 22rem; column-gap: 2rem; } a { color: var(--c0); }
pre span { display: block; break-inside: avoid; margin-bottom: .8rem; }
summary { cursor: pointer; font-size: 1.15rem; font-weight: 600; margin: 2.2rem 0 .8rem; }
""".replace("LIGHT", " ".join(f"--c{place}: {colour};" for place, colour in enumerate(LIGHT))).replace(
        "DARK", " ".join(f"--c{place}: {colour};" for place, colour in enumerate(DARK))
    )
    + "".join(
        f"svg .series-{place} {{ stroke: var(--c{place}); fill: var(--c{place}); }}\n"
        f"i.series-{place} {{ background: var(--c{place}); }}\n"
        for place in range(COLOURS)
    )
)


def document(title: str, sections: Sequence[str], style: str = "", script: str = "") -> str:
    """Put a page together, which needs nothing else.

    Args:
        sections: HTML.
        style: more of it.
        script: a small module; empty for none.
    """
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{STYLE}{style}</style></head><body>{''.join(sections)}"
        + (f"<script type='module'>{script}</script>" if script else "")
        + "</body></html>\n"
    )


def figure(chart: Chart, total_samples: int, marks: Sequence[Mark] = ()) -> str:
    """A chart with its legend and caption."""
    legend = "".join(
        f"<span data-run='{place}'><i class='series-{place % COLOURS}'></i>{escape(series.name)}: "
        f"{number(series.points[-1][1])}</span> "
        for place, series in ((series.colour(place), series) for place, series in enumerate(chart.series))
    )
    return (
        f"<figure id='{chart.name}'><h3>{escape(chart.title)}</h3>{draw(chart, total_samples, marks)}"
        f"<p class='legend'>{legend}</p><figcaption>{escape(chart.caption)}</figcaption></figure>"
    )


def image(path: Path, words: str) -> str:
    """A picture of a file, embedded; `words` describe it."""
    return f"<img alt='{escape(words, quote=True)}' src='{data_uri(path.read_bytes(), path.suffix[1:])}'>"


def data_uri(content: bytes, kind: str) -> str:
    """A picture as an address; `kind` is png or gif."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
