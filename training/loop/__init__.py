"""Runs the training of one configuration.

In: a `Config` and a run folder. Out: checkpoints, metrics, events, sample grids and the final report in that folder.
May import diagnostics, export.limits, state and everything below; only experiments and the command line import it.
"""
