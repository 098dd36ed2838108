"""Samples of a run or a package for given seeds, without a service: the same as the service draws for them.

In: a run's checkpoint or a package's generator, and seeds. Out: a sheet of pictures, arrays or a table.
May import export, state, config, data and the root's shared modules; never loop or diagnostics.
"""
