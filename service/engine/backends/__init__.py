"""The libraries that run ONNX graphs: ONNX Runtime and OpenVINO. In: a `GraphSpec` and feeds; out: arrays.

May import: engine's vocabulary.
"""
