"""The acceptance of the project on one CUDA device: `python -m benchmarks.device STAGE… --out DIR [--rehearse]`.

In: names of stages; out: DIR/STAGE.json, a row at a time, and a line of pass marks. May import: contenders,
experiments, load, gpu, results, workplace.
"""
