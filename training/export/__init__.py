"""From a run to a package that the service can load, and from a package to its next version.

In: a run's checkpoint and its data. Out: `models/NAME/VERSION/` with graphs, manifest, golden vectors, calibration
and card.
May import diagnostics, state, config, evaluation, data and the root's shared modules; never loop.
"""
