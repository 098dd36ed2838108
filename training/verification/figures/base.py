"""What a figure is: numbers of the code, a drawing of them, and how both become files."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from training.errors import TrainingError
from training.files import write_atomically
from training.progress import progress

FACTS_NAME: Final = "facts.json"
DOTS_PER_INCH: Final = 130
COLOURS: Final = 96
PANEL_WIDTH, HEIGHT = 4.4, 3.5  # inches
FACT_DIGITS: Final = 4  # significant ones: what follows differs between machines

# Okabe and Ito, Color Universal Design (2008): eight colours that differ under every common colour blindness.
BLUE, ORANGE, GREEN, PINK, YELLOW, BLACK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#222222"
SOFT: Final = "#8a9199"
STYLE: Final[Any] = {  # of matplotlib's keys, which its stubs list one by one
    "figure.facecolor": "#fbfbfa",  # set, so that a page in dark mode does not shine through
    "axes.facecolor": "#ffffff",
    "savefig.facecolor": "#fbfbfa",
    "text.color": BLACK,
    "axes.labelcolor": BLACK,
    "axes.edgecolor": SOFT,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e9ec",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": True,
    "legend.framealpha": 0.9,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class Drawing:
    """One figure.

    Attributes:
        figure: not yet rendered.
        facts: the numbers that its titles and its caption state, by name.
    """

    figure: Figure
    facts: Mapping[str, float]


def rendered(figure: Figure) -> bytes:
    """Render a figure as a PNG of few colours, which takes half the bytes."""
    image, small = io.BytesIO(), io.BytesIO()
    figure.savefig(image, format="png", dpi=DOTS_PER_INCH)
    few = Image.open(image).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(small, format="PNG", optimize=True)
    return small.getvalue()


Maker = Callable[[], Drawing]


def panels(count: int, *, height: float = HEIGHT, wide: float = 1.0) -> tuple[Figure, list[Axes]]:
    """Make a figure of panels side by side.

    Args:
        height: inches.
        wide: width of the whole, in widths of `count` panels.
    """
    figure = Figure(figsize=(PANEL_WIDTH * count * wide, height), layout="constrained")
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, list(axes)


def write(makers: Mapping[str, Maker], out: Path) -> list[Path]:
    """Make figures and write them, with a file of their facts.

    Args:
        makers: by the stem of each image's file.

    Returns:
        The files, `facts.json` last.

    Raises:
        TrainingError: if a file cannot be written.
    """
    facts: dict[str, dict[str, float]] = {}
    paths = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the networks are tiny: a second thread waits more than it computes
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, maker in progress(makers.items(), "figures", len(makers), "figure"):
            with mpl.rc_context(STYLE):
                drawing = maker()
                image = rendered(drawing.figure)
            paths.append(out / f"{name}.png")
            write_atomically(paths[-1], image)
            facts[name] = {fact: float(f"{number:.{FACT_DIGITS}g}") for fact, number in drawing.facts.items()}
        paths.append(out / FACTS_NAME)
        write_atomically(paths[-1], (json.dumps(facts, indent=2) + "\n").encode())
    except OSError as error:
        raise TrainingError(f"cannot write {out}: {error.strerror}; choose another --out") from error
    finally:
        torch.set_num_threads(threads)
    return paths
