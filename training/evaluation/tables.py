"""Formats evaluations as Markdown tables.

Columns are aligned, for a terminal and a package's card.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from training.data.stacked_mnist import CLASSES
from training.evaluation.evaluate import Evaluation, Figures
from training.evaluation.mixtures import Coverage
from training.evaluation.modes import StackedModes
from training.evaluation.neighbourhoods import NEIGHBOURS
from training.evaluation.ranking import METRICS

DISTANCE_DECIMALS: Final = 4  # in features of unit variance, the floor is a few hundredths
SHARE_DECIMALS: Final = 4
DIVERGENCE_DECIMALS: Final = 5


def metrics_table(evaluation: Evaluation) -> list[str]:
    """Format the figures of generated images beside those of real ones and of blobs.

    Returns:
        The lines of a Markdown table, columns aligned, and one with the samples of each class where there are any.
    """
    columns = {"generated": evaluation.generated, "real": evaluation.real, "blobs": evaluation.blobs}
    rows = {name: _rows(figures) for name, figures in columns.items()}
    asked = set(rows["generated"]) - set(rows["blobs"])  # blobs have no requested class
    table = _table({**rows, "blobs": rows["blobs"] | dict.fromkeys(asked, "")})
    modes = evaluation.generated.modes
    if modes is None:
        return table
    return [*table, "", f"Generated samples by class: {', '.join(f'{count:,}' for count in modes.histogram)}."]


def coverage_table(generated: Coverage, real: Coverage) -> list[str]:
    """Format the coverage of generated samples beside that of real ones.

    Args:
        real: of as many samples of the mixture itself.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({"generated": _coverage_rows(generated), "real": _coverage_rows(real)})


def ranking_table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Format ranking metrics.

    Args:
        figures: of each ranking by name, as `training.evaluation.ranking.rank` gives them.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({ranking: {name: f"{found[name]:.4f}" for name in METRICS} for ranking, found in figures.items()})


def stacked_table(generated: StackedModes, real: StackedModes) -> list[str]:
    """Format the modes of generated stacked digits beside those of real triples.

    Args:
        real: of as many held-out triples.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({"generated": _stacked_rows(generated), "real": _stacked_rows(real)})


def factors_table(agreement: Mapping[str, float]) -> list[str]:
    """Format how well codes tell the factors of samples.

    Args:
        agreement: of each factor by name, at most 1.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({"codes": {name: f"{value:.4f}" for name, value in agreement.items()}})


def _table(columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    head = ("figure", *columns)
    names = next(iter(columns.values()))
    rows = [(name, *(column[name] for column in columns.values())) for name in names]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        name, *values = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((name, *values))} |"

    rule = f"| {'-' * widths[0]} | " + " | ".join("-" * (width - 1) + ":" for width in widths[1:]) + " |"
    return [line(head), rule, *(line(row) for row in rows)]


def _coverage_rows(coverage: Coverage) -> dict[str, str]:
    return {
        "modes captured": f"{coverage.captured} of {len(coverage.histogram)}",
        "samples of high quality": f"{coverage.high_quality_share:.4f}",
        "reverse KL over the modes, nats": f"{coverage.reverse_kl:.5f}",
    }


def _rows(figures: Figures) -> dict[str, str]:
    def cell(name: str, value: float, decimals: int) -> str:
        ends = figures.intervals.get(name)
        between = "" if ends is None else f" ({ends[0]:.{decimals}f} to {ends[1]:.{decimals}f})"
        return f"{value:.{decimals}f}{between}"

    around, modes, asked = figures.neighbourhoods, figures.modes, figures.label_accuracy
    rows = {
        "Fréchet distance": cell("frechet_distance", figures.frechet_distance, DISTANCE_DECIMALS),
        "kernel distance": cell("kernel_distance", figures.kernel_distance, DISTANCE_DECIMALS),
        f"precision (k = {NEIGHBOURS})": cell("precision", around.precision, SHARE_DECIMALS),
        "recall": cell("recall", around.recall, SHARE_DECIMALS),
        "density": cell("density", around.density, SHARE_DECIMALS),
        "coverage": cell("coverage", around.coverage, SHARE_DECIMALS),
    }
    if modes is not None:
        rows |= {
            "classes drawn": f"{modes.captured} of {len(modes.histogram)}",
            "KL of classes from uniform, nats": cell("kl_to_uniform", modes.kl_to_uniform, DIVERGENCE_DECIMALS),
            "KL of classes from the data's, nats": cell("kl_to_data", modes.kl_to_data, DIVERGENCE_DECIMALS),
            "classifier above 0.9": cell("confident_share", modes.confident_share, SHARE_DECIMALS),
        }
    return rows if asked is None else rows | {"of the class asked for": cell("label_accuracy", asked, SHARE_DECIMALS)}


def _stacked_rows(modes: StackedModes) -> dict[str, str]:
    return {
        "classes drawn": f"{modes.captured:,} of {CLASSES:,}",
        "KL of classes from uniform, nats": f"{modes.kl_to_uniform:.4f}",
    }
