"""State of a run: players with their optimizers, the batch stream, checkpoints, and the log of rows and events.

In: a `Config`, data, a run folder. Out: networks and batches for one step, and what is stored on disk.
May import config, networks, objectives, augmentation, data and the root's shared modules; never loop, diagnostics or
export.
"""
