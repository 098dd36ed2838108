"""The engine itself. In: jobs as plain data; out: samples, scores, codes; every job is validated once, here.

May import: engine.loading, engine.batching, engine.sampling, engine.backends and engine's vocabulary.
"""
