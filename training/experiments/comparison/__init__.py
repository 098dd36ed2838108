"""The comparison of docs/comparison.md: games that differ in nothing but the game.

    games     the common configuration, and what each game changes of it
    play      one game: tuning, seeds, measurements
    cost      what a step of each game takes
    page      tables, plots and grids

In: a folder for runs. Out: a row of results for each game, and what the page shows.
May import what studies may, and the runner and results of experiments.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from training.experiments import runner
from training.experiments.comparison import cost, page
from training.experiments.comparison.games import GAMES
from training.experiments.comparison.play import SEEDS, experiment, read_tuning, write_tuning
from training.experiments.results import Row, origin

__all__ = ["NAME", "SEEDS", "reproduce"]

NAME: Final = "comparison"


def reproduce(seeds: Iterable[int], out: Path, data_path: str | None, say: Callable[[str], None]) -> dict[str, Row]:
    """Play every game that is not finished, seed by seed, and write the tables, plots and grids.

    Args:
        out: of runs and results; what is there, in its folder `comparison`, is not computed again.
        data_path: of MNIST, if it is not at its usual place.

    Returns:
        The rows by game, the best first.

    Raises:
        TrainingError: as training raises it, or if the folder cannot be written.
    """
    home = out / NAME
    for seed in seeds:  # so that every game has its first seed before any has its second
        for name in GAMES:
            runner.reproduce(experiment(name), [seed], home, data_path, say)
    if not (home / cost.FILE).is_file():
        cost.write(cost.measured(data_path), origin(), home)
    write_tuning(home)
    found, step_ms = page.rows(home), cost.read(home)
    page.draw(found, step_ms, home / "images")
    page.grids(
        {name: home / name / f"seed-{row.seeds[0].seed}" / "run" for name, row in found.items()}, home / "images"
    )
    (home / "tables.md").write_text(page.markdown(found, step_ms, read_tuning(home)), encoding="utf-8")
    say(f"{home / 'tables.md'} and {home / 'images'}: tables, plots and grids")
    return found
