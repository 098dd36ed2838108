"""The parts of a package, one a file; `training.export` puts them together.

graphs             torch networks -> ONNX bytes            batch_statistics   of the averaged generator
runtime            ONNX bytes -> arrays                    parity             torch against ONNX Runtime
golden             what a replay must reproduce            card, preview      for people
publish            files -> models/NAME/VERSION, at once   draws              which latents serve which purpose
"""
