"""SVG plots: throughput of each server, and latency at a constant rate; and those of the capacity model."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.experiments import serving
from benchmarks.report import capacity_plots
from benchmarks.report.figures import MILLI, At, contenders, median, shares
from benchmarks.report.tables import LARGE, SINGLES
from benchmarks.results import Found, read, spread

INCHES: Final = (8.0, 3.2)
BAR: Final = 0.38
OURS_COLOUR, PEER_COLOUR, PALER = "#1f6f8b", "#9aa5b1", 0.55
NETWORK: Final = "g28"


def draw(folder: Path) -> Iterator[Path]:
    """Draw the plots of the results; yield their files."""
    found = read("serving", folder)
    drawn = [("throughput", _throughput(found)), ("waiting", _waiting(found))] if found.rows else []
    # A fixed salt and no date: the files change only with the figures.
    with mpl.rc_context({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9}):
        for name, figure in (*drawn, *capacity_plots.figures(folder)):
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            yield path


def _throughput(found: Found) -> Figure:
    """Bars: the share of the ceiling, for single samples and for sixteen."""
    figure, names = Figure(INCHES, layout="constrained"), contenders(found.rows, network=NETWORK)
    axes = figure.subplots()
    for place, name in enumerate(names):
        colour = OURS_COLOUR if name.startswith("ganymede") else PEER_COLOUR
        for offset, load, opacity in ((-BAR / 2, SINGLES, PALER), (BAR / 2, LARGE, 1.0)):
            reached = shares(found, NETWORK, name, load)
            if reached:
                height = 100 * spread(reached).median
                axes.bar(place + offset, height, BAR, color=colour, alpha=opacity)
                axes.text(place + offset, height, f"{height:.0f}", ha="center", va="bottom")
    axes.axhline(100, color="black", linewidth=0.8)
    axes.set_xticks(range(len(names)), [name.replace(" ", "\n") for name in names])
    axes.set_ylabel("% of the ceiling")
    axes.set_title(f"{NETWORK}: n = 1, 64 connections (pale), and n = 16, 16 connections")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _waiting(found: Found) -> Figure:
    """Points: p50 and p99 at each constant rate, on a logarithmic axis."""
    figure = Figure(INCHES, layout="constrained")
    panels = figure.subplots(1, len(serving.RATES), sharey=True, squeeze=False)[0]
    names = contenders(found.rows, network=NETWORK, loop="open")
    for axes, share in zip(panels, serving.RATES, strict=True):
        for place, name in enumerate(names):
            at: At = {"network": NETWORK, "contender": name, "loop": "open", "rate_share": share}
            times = [median(found.rows, key, at) for key in ("p50_s", "p99_s")]
            known = [seconds / MILLI for seconds in times if seconds is not None]
            colour = OURS_COLOUR if name.startswith("ganymede") else PEER_COLOUR
            axes.plot([place] * len(known), known, marker="o", color=colour)
        axes.set_yscale("log")
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right", rotation_mode="anchor")
        axes.set_title(f"requests at {share:.0%} of the ceiling")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("p50 to p99, ms")
    return figure
