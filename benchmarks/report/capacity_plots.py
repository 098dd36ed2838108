"""SVG plots of the capacity model: predictions beside measurements, fleets, balancing policies, caches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.capacity.cdn import Catalogue, edges_hit_rate
from benchmarks.capacity.scale import EDGES, OBJECTS, Extent
from benchmarks.report.capacity import CHECK, SCALE, cases
from benchmarks.report.figures import MILLI, number
from benchmarks.results import Found, chosen, numbers, read, spread

INCHES: Final = (8.0, 3.0)
COLOURS: Final = ("#1f6f8b", "#c1553b", "#6b8e23", "#7d5ba6")
# Of the catalogue, that an edge holds; on a logarithmic axis.
HELD: Final = np.geomspace(1e-5, 0.05, 40)


def figures(folder: Path) -> Iterator[tuple[str, Figure]]:
    """Names of plots and the plots, of what there are results of."""
    checked, scaled = read(CHECK, folder), read(SCALE, folder)
    if checked.rows:
        yield "capacity-check", _check(checked)
    if scaled.rows:
        yield "capacity-replicas", _replicas(scaled)
        yield "capacity-policies", _policies(scaled)
        yield "capacity-caches", _caches()


def _check(found: Found) -> Figure:
    """Latency against load: predicted lines, measured medians with the least and the most of the windows."""
    kinds = list(dict.fromkeys((at["samples"], at["replicas"], at["policy"]) for at in cases(found)))
    figure = Figure((2.3 * len(kinds) + 0.6, INCHES[1]), layout="constrained")
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    for axes, (samples, replicas, policy) in zip(panels, kinds, strict=True):
        rows = list(chosen(found.rows, samples=samples, replicas=replicas, policy=policy))
        loads = sorted({number(row, "load") for row in rows})
        for colour, name in zip(COLOURS, ("p50", "p99"), strict=False):
            for key, marker in ((f"predicted_{name}_s", ""), (f"{name}_s", "o")):
                spreads = [spread(numbers(rows, key, load=load)) for load in loads]
                middle = [each.median / MILLI for each in spreads]
                if marker:
                    errors = [
                        [(each.median - each.least) / MILLI, (each.most - each.median) / MILLI] for each in spreads
                    ]
                    axes.errorbar(
                        loads,
                        middle,
                        np.array(errors).T,
                        fmt=marker,
                        color=colour,
                        capsize=3,
                        label=f"{name}, measured",
                    )
                else:
                    axes.plot(loads, middle, color=colour, label=f"{name}, predicted")
        title = f"{samples} sample{'s' * (samples != 1)} a request\n{replicas} replica{'s' * (replicas != 1)}"
        axes.set_title(title + (f", {policy}" if replicas != 1 else ""), fontsize=8)
        axes.set_xlabel("share of the capacity")
        _plain(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("latency, ms")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4
    )
    return figure


def _replicas(found: Found) -> Figure:
    """The traffic that fleets take, by target."""
    figure = Figure((5.0, INCHES[1]), layout="constrained")
    axes = figure.subplots()
    rows = list(chosen(found.rows, table="replicas"))
    targets = dict.fromkeys(number(row, "p99_target_s") for row in rows)
    for colour, target in zip(COLOURS, targets, strict=False):
        points = [
            (number(row, "samples_per_s"), number(row, "replicas"))
            for row in chosen(rows, p99_target_s=target)
            if number(row, "samples_per_s") > 0
        ]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", color=colour, label=f"p99 ≤ {target / MILLI:.0f} ms")
    axes.set_xscale("log")
    axes.set_yscale("log", base=2)
    axes.set_xlabel("samples a second, one a request")
    axes.set_ylabel("replicas of one core")
    axes.legend(frameon=False)
    _plain(axes)
    return figure


def _policies(found: Found) -> Figure:
    """The p99 against load, by policy; one balancer and several."""
    rows = list(chosen(found.rows, table="policies"))
    counts = list(dict.fromkeys(int(number(row, "balancers")) for row in rows))
    figure = Figure(INCHES, layout="constrained")
    panels = figure.subplots(1, len(counts), sharey=True, squeeze=False)[0]
    for axes, balancers in zip(panels, counts, strict=True):
        for colour, policy in zip(COLOURS, dict.fromkeys(str(row["policy"]) for row in rows), strict=False):
            known = [row for row in chosen(rows, balancers=balancers, policy=policy) if row["p99_s"] is not None]
            loads = [number(row, "load") for row in known]
            axes.plot(loads, [number(row, "p99_s") / MILLI for row in known], color=colour, marker=".", label=policy)
        axes.set_title(f"{balancers} balancer{'s' * (balancers != 1)}")
        axes.set_xlabel("share of the capacity")
        _plain(axes)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel("p99, ms")
    panels[0].legend(frameon=False)
    return figure


def _caches() -> Figure:
    """The hit rate against what an edge holds, by exponent; dashed where objects are hashed to edges."""
    figure = Figure((5.0, INCHES[1]), layout="constrained")
    axes = figure.subplots()
    for colour, exponent in zip(COLOURS, Extent.exponents, strict=False):
        catalogue = Catalogue(OBJECTS, exponent)
        for hashed, style in ((False, "-"), (True, "--")):
            rates = [100 * edges_hit_rate(catalogue, int(held * OBJECTS), EDGES, hashed=hashed) for held in HELD]
            label = f"exponent {exponent}{', hashed' * hashed}"
            axes.plot(100 * HELD, rates, style, color=colour, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("% of the samples that an edge holds")
    axes.set_ylabel("% of the requests that it answers")
    axes.legend(frameon=False, fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    _plain(axes)
    return figure


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
