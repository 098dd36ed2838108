"""One module an experiment, each with a `main`.

In: arguments; out: results/NAME.json. May import: contenders, load, workplace, results.
"""
