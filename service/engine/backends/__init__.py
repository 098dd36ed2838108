"""ONNX Runtime, on the CPU or CUDA, and OpenVINO. In: a `GraphSpec` and feeds; out: arrays, and whether CUDA works.

May import: engine's vocabulary.
"""
