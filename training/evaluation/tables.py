"""An evaluation as a table for people.

Markdown with aligned columns, which is good to read in a terminal and on a package's card alike. Which figures there
are, and what they mean, is said where they are computed.
"""

from training.evaluation.evaluate import Evaluation, Figures
from training.evaluation.neighbourhoods import NEIGHBOURS


def metrics_table(evaluation: Evaluation) -> list[str]:
    """Write the figures of generated images beside those of real ones.

    Args:
        evaluation: what was found.

    Returns:
        The lines of a Markdown table, columns aligned, and one with the samples of each class.
    """
    generated, real = _rows(evaluation.generated), _rows(evaluation.real)
    head = ("figure", "generated", "real")
    rows = [(name, value, real[name]) for name, value in generated.items()]
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(cells: tuple[str, ...]) -> str:
        name, *values = (
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join((name, *values))} |"

    rule = f"| {'-' * widths[0]} | " + " | ".join("-" * (width - 1) + ":" for width in widths[1:]) + " |"
    counts = ", ".join(f"{count:,}" for count in evaluation.generated.modes.histogram)
    return [line(head), rule, *(line(row) for row in rows), "", f"Generated samples by class: {counts}."]


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
    }
