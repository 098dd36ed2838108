"""The comparison of docs/comparison.md: games that differ in nothing but the game.

    games     the common configuration, and what each game changes of it
    play      one game: tuning, seeds, measurements
    page      tables, plots and grids

In: a folder for runs. Out: a row of results for each game, and the page.
May import what studies may, and the runner and results of experiments.
"""
