"""ONNX graphs of a run's networks, compared with the networks, and run by ONNX Runtime.

In: torch networks with averaged weights. Out: `Pair`, serialized graphs and functions from arrays to arrays.
May import state, config, networks, data and evaluation.distances; never the other modules of export.
"""
