"""The engine itself. In: jobs as plain data; out: samples, scores, codes; every job is validated once, here.

A few samples of answered jobs are scored in the background (`live_scoring.py`).
May import: engine.loading, engine.batching, engine.sampling, engine.backends and engine's vocabulary.
"""
