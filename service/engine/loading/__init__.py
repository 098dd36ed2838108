"""From a package's graphs to verified sessions. In: a model specification; out: instances whose outputs were checked.

May import: engine.batching, engine.sampling, engine.backends and engine's vocabulary.
"""
