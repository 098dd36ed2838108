"""From a package's graphs to verified sessions. In: `PackageGraphs`; out: instances that reproduced the golden vectors.

May import: engine.batching, engine.sampling, engine.backends and engine's vocabulary.
"""
