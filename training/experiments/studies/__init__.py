"""Studies: what experiments train and measure, each with its protocol, its targets and its `EXPERIMENT`.

In: a `Setting`. Out: `Metrics` of one seed.
May import what its two folders may; it has no module of its own.
"""
