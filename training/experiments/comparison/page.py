"""Tables, plots and grids of the comparison, from the rows of its games.

docs/comparison.md holds the tables; a test compares them with `training/results/comparison/`.
"""

import io
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from training.experiments.comparison.games import BATCH_SIZE, GAMES, RATES, TOTAL_SAMPLES
from training.experiments.comparison.play import CURVE, FINDING
from training.experiments.results import PUBLISHED, Row, read_row
from training.files import write_atomically

FOLDER: Final = PUBLISHED / "comparison"
STEPS: Final = TOTAL_SAMPLES // BATCH_SIZE
SHOWN: Final[dict[str, tuple[str, str]]] = {  # of the table of samples: the metric's name, the column's, the format
    "frechet_distance": ("Fréchet", ".1f"),
    "kernel_distance": ("kernel", ".2f"),
    "label_free_frechet_distance": ("Fréchet, label-free", ".2f"),
    "precision": ("precision", ".3f"),
    "recall": ("recall", ".3f"),
    "density": ("density", ".2f"),
    "coverage": ("coverage", ".3f"),
    "modes": ("modes", ".0f"),
    "kl_to_data": ("KL of classes", ".3f"),
}
GRID_ROWS: Final = 3  # of the run's grid, that fit beside a row of the table
PLOT_INCHES: Final = (7.6, 4.8)
BACKGROUND: Final = "#fbfbfa"  # set, so that a page in dark mode does not shine through
Curves = Mapping[str, Sequence[tuple[float, float, float, float]]]  # of each game: x, median, least, most


def rows(folder: Path = FOLDER) -> dict[str, Row]:
    """Read the finished games, the best median Fréchet distance first.

    Raises:
        DataError: if a file is no row.
    """
    found = {name: read_row(folder / f"{name}.json") for name in GAMES if (folder / f"{name}.json").is_file()}
    return dict(sorted(found.items(), key=lambda item: item[1].summary("frechet_distance").median))


def markdown(found: Mapping[str, Row], step_ms: Mapping[str, float], tried: Mapping[str, Mapping[float, float]]) -> str:
    """Format the tables.

    Args:
        found: rows in the order of the table.
        step_ms: milliseconds of a step of each game.
        tried: of each game, the distance that each learning rate came to.

    Returns:
        Lines of Markdown: samples, then scores, costs and findings, then learning rates.
    """
    samples = [
        ["game", *(heading for heading, _ in SHOWN.values())],
        ["---", *(["---:"] * len(SHOWN))],
        *([row.system, *(_spread(row, *column) for column in _columns())] for row in found.values()),
    ]
    scores = [
        ["game", "learning rate", "calibration error", "area under the curve", "step, ms", "seconds", "diagnosis"],
        ["---", *(["---:"] * 5), "---"],
        *([row.system, *_beside(row, step_ms[name])] for name, row in found.items()),
    ]
    rates = [
        ["game", *(f"{rate:g}" for rate in RATES)],
        ["---", *(["---:"] * len(RATES))],
        *([row.system, *_rates(tried[name], row.summary("learning_rate").median)] for name, row in found.items()),
    ]
    return "\n\n".join("\n".join(_line(cells) for cells in table) for table in (samples, scores, rates)) + "\n"


def _columns() -> list[tuple[str, str]]:
    return [(metric, form) for metric, (_, form) in SHOWN.items()]


def _spread(row: Row, metric: str, form: str) -> str:
    summary = row.summary(metric)
    median, least, most = (format(value, form) for value in (summary.median, summary.min, summary.max))
    return median if least == most else f"{median} ({least}–{most})"


def _beside(row: Row, step_ms: float) -> list[str]:
    return [
        f"{row.summary('learning_rate').median:g}",
        _spread(row, "calibration_error", ".3f"),
        _spread(row, "area_under_curve", ".3f"),
        f"{step_ms:.0f}",
        f"{step_ms * STEPS / 1_000:.0f}",
        "; ".join(_findings(row)),
    ]


def _rates(tried: Mapping[float, float], taken: float) -> list[str]:
    """The distance of each rate; bold of the one that was taken, empty of one that was not tried."""

    def cell(rate: float) -> str:
        if rate not in tried:
            return ""
        text = f"{tried[rate]:.1f}" if math.isfinite(tried[rate]) else "diverged"
        return f"**{text}**" if rate == taken else text

    return [cell(rate) for rate in RATES]


def _findings(row: Row) -> list[str]:
    """What `diagnose` said, with the number of seeds of which it did not say it of all; divergence first."""
    told: dict[str, int] = {}
    for result in row.seeds:
        names = [name.removeprefix(FINDING) for name in result.metrics if name.startswith(FINDING)]
        for name in names:
            told[name] = told.get(name, 0) + 1
    count = len(row.seeds)
    return [name if times == count else f"{name} ({times} of {count})" for name, times in told.items()]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def draw(found: Mapping[str, Row], step_ms: Mapping[str, float], folder: Path) -> list[Path]:
    """Draw the quality of every game against samples and against seconds.

    Args:
        folder: of the two plots; made if it is missing.

    Returns:
        The files.
    """

    def seconds(name: str, samples: float) -> float:
        return samples / BATCH_SIZE * step_ms[name] / 1_000

    folder.mkdir(parents=True, exist_ok=True)
    plots = {
        "by-samples.svg": ("generated samples that trained the generator", lambda _name, samples: samples),
        "by-seconds.svg": ("seconds of steps, one thread", seconds),
    }
    return [_plot(found, label, place, folder / file) for file, (label, place) in plots.items()]


def _plot(found: Mapping[str, Row], label: str, place: Callable[[str, float], float], path: Path) -> Path:
    figure = Figure(figsize=PLOT_INCHES, layout="constrained", facecolor=BACKGROUND)
    axes: Axes = figure.subplots()
    colours = colormaps["tab20"].colors  # type: ignore[attr-defined]  # of a list of colours, which the stubs do not know
    for colour, (name, row) in zip(colours, found.items(), strict=False):
        points = _curve(row)
        axes.plot(
            [place(name, x) for x, *_ in points], [median for _, median, *_ in points], color=colour, label=row.system
        )
        axes.fill_between(
            [place(name, x) for x, *_ in points],
            [least for *_, least, _ in points],
            [most for *_, most in points],
            color=colour,
            alpha=0.15,
            linewidth=0,
        )
    axes.set(xlabel=label, ylabel="Fréchet distance (lower is better)", yscale="log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e9ec", which="both", linewidth=0.5)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    content = io.BytesIO()
    figure.savefig(content, format="svg", metadata={"Date": None})
    write_atomically(path, content.getvalue())
    return path


def _curve(row: Row) -> list[tuple[float, float, float, float]]:
    """Samples, and the median, least and most of the seeds' distances there; of the seeds that got so far."""
    prefix = CURVE.split("{", maxsplit=1)[0]
    reached: dict[int, list[float]] = {}
    for result in row.seeds:
        for name, figure in result.metrics.items():
            if name.startswith(prefix):
                reached.setdefault(int(name.removeprefix(prefix)), []).append(figure)
    return [(x, statistics.median(each), min(each), max(each)) for x, each in sorted(reached.items())]


def grids(runs: Mapping[str, Path], folder: Path) -> list[Path]:
    """Cut the first rows of each run's last grid.

    Args:
        runs: one of each game.
        folder: of the pictures; made if it is missing.

    Returns:
        The files, GAME.png.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, run in runs.items():
        last = max((run / "grids").glob("*.png"), default=None)
        if last is None:
            continue
        with Image.open(last) as grid:
            height = grid.height * GRID_ROWS // 8
            content = io.BytesIO()
            grid.crop((0, 0, grid.width, height)).save(content, format="png", optimize=True)
        path = folder / f"{name}.png"
        write_atomically(path, content.getvalue())
        made.append(path)
    return made
