"""An evaluation as a table for people.

Markdown with aligned columns, which is good to read in a terminal and on a package's card alike. Which figures there
are, and what they mean, is said where they are computed.
"""

from collections.abc import Mapping, Sequence

from training.data.stacked_mnist import CLASSES
from training.evaluation.evaluate import Evaluation, Figures
from training.evaluation.mixtures import Coverage
from training.evaluation.neighbourhoods import NEIGHBOURS
from training.evaluation.ranking import METRICS
from training.evaluation.stacked import StackedModes


def metrics_table(evaluation: Evaluation) -> list[str]:
    """Write the figures of generated images beside those of real ones.

    Args:
        evaluation: what was found.

    Returns:
        The lines of a Markdown table, columns aligned, and one with the samples of each class.
    """
    counts = ", ".join(f"{count:,}" for count in evaluation.generated.modes.histogram)
    return [
        *_table({"generated": _rows(evaluation.generated), "real": _rows(evaluation.real)}),
        "",
        f"Generated samples by class: {counts}.",
    ]


def coverage_table(generated: Coverage, real: Coverage) -> list[str]:
    """Write what generated samples cover of a mixture beside what real ones do.

    Args:
        generated: of the generator.
        real: of as many samples of the mixture itself.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({"generated": _coverage_rows(generated), "real": _coverage_rows(real)})


def ranking_table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Write where rankings find what is sought.

    Args:
        figures: of each ranking by name, as `training.evaluation.ranking.rank` gives them.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({ranking: {name: f"{found[name]:.4f}" for name in METRICS} for ranking, found in figures.items()})


def stacked_table(generated: StackedModes, real: StackedModes) -> list[str]:
    """Write which stacked digits are generated beside those of real triples.

    Args:
        generated: of the generator.
        real: of as many held-out triples.

    Returns:
        The lines of a Markdown table, columns aligned.
    """
    return _table({"generated": _stacked_rows(generated), "real": _stacked_rows(real)})


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
    around, modes = figures.neighbourhoods, figures.modes
    return {
        "Fréchet distance": f"{figures.frechet_distance:.3f}",
        "kernel distance": f"{figures.kernel_distance:.3f}",
        f"precision (k = {NEIGHBOURS})": f"{around.precision:.4f}",
        "recall": f"{around.recall:.4f}",
        "density": f"{around.density:.4f}",
        "coverage": f"{around.coverage:.4f}",
        "classes drawn": f"{modes.captured} of {len(modes.histogram)}",
        "KL of classes from uniform, nats": f"{modes.kl_to_uniform:.5f}",
        "KL of classes from the data's, nats": f"{modes.kl_to_data:.5f}",
        "classifier above 0.9": f"{modes.confident_share:.4f}",
        **({} if figures.label_accuracy is None else {"of the class asked for": f"{figures.label_accuracy:.4f}"}),
    }


def _stacked_rows(modes: StackedModes) -> dict[str, str]:
    return {
        "classes drawn": f"{modes.captured:,} of {CLASSES:,}",
        "KL of classes from uniform, nats": f"{modes.kl_to_uniform:.4f}",
    }
